//! Starting a process: a clone that shares memory and stops its parent's thread until exec, as vfork does.
//!
//! `fork` copies page tables and grows with the daemon; `std::process::Command` forks as soon as a user or a hook is
//! set, and a second exec of a small starter costs as much as a small task. So the child is made by
//! `clone(CLONE_VM | CLONE_VFORK)` on a stack of its own, and sets session, user, folder and streams by raw system
//! calls, as Go's `forkAndExecInChild` does. Raw ones, because the C library's `setuid` and its kin change *all
//! threads* of the memory they share, which here would be the spawner's.
//!
//! Rules for the child's code, which is everything below [`in_child`]: no allocation, no lock, no panic, no libc call
//! that keeps state in user memory. (`errno` is the one exception; the thread it belongs to is stopped.)

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::spawner::confine::{Failure, Plan, Step, Target};

/// Far above what the child's few frames need, also in unoptimised builds.
const STACK_BYTES: usize = 64 * 1024;

/// What one starting thread needs for its children.
#[derive(Debug)]
pub(super) struct Starter {
    // 16-byte elements give the alignment that the calling conventions ask of a stack.
    stack: Box<[u128]>,
    null: OwnedFd,
    own: Own,
}

/// What the spawner has of the system that a task is not to inherit.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// The hard limit of core files, which a task may ask for; the soft one it gets is zero, as at a login.
    hard_core: u64,
    /// Whether the kernel was told to spare the spawner when memory runs out.
    spared: bool,
}

impl Own {
    fn read() -> std::io::Result<Self> {
        let (_, hard_core) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE)?;
        // Where there is no such file nothing is spared.
        let score = std::fs::read_to_string(OOM_SCORE_PATH).unwrap_or_default();
        Ok(Self {
            hard_core,
            spared: score.trim().parse::<i32>().is_ok_and(|score| score < 0),
        })
    }
}

const OOM_SCORE_PATH: &str = "/proc/self/oom_score_adj";
const OOM_SCORE_FILE: &CStr = c"/proc/self/oom_score_adj";

/// The child's side of the shared memory.
struct Shared<'a> {
    plan: &'a Plan,
    null: c_int,
    own: Own,
    parent: c_long,
    step: AtomicI32,
    errno: AtomicI32,
}

impl Starter {
    /// # Errors
    /// When `/dev/null` cannot be opened.
    pub(super) fn new() -> std::io::Result<Self> {
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        Ok(Self {
            stack: vec![0; STACK_BYTES / 16].into_boxed_slice(),
            null: null.into(),
            own: Own::read()?,
        })
    }

    /// Starts a process and returns when its program runs or it has failed. A failed child is still to be reaped.
    ///
    /// `pid` is written by the kernel before the child runs, so other threads know the number of a child that this
    /// call has not returned yet.
    ///
    /// # Errors
    /// [`Failure`]: the step and what the kernel said.
    pub(super) fn start(&mut self, plan: &Plan, pid: &AtomicI32) -> Result<i32, Failure> {
        let shared = Shared {
            plan,
            null: self.null.as_raw_fd(),
            own: self.own,
            parent: c_long::from(std::process::id()),
            step: AtomicI32::new(0),
            errno: AtomicI32::new(0),
        };
        let unblocked = block_signals();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
        // SAFETY: `stack_top` is the aligned end of a stack that nothing else uses, because `self` is borrowed
        // mutably and the call returns only after the child left it (CLONE_VFORK). `shared` and `plan` outlive the
        // call for the same reason. `in_child` keeps the rules above, so the memory it shares with the other, running
        // threads of this process is only read, except for `shared`'s atomics. Signals are blocked, so no handler of
        // this process runs in the child. `pid` points to an `i32` that lives through the call.
        let child = unsafe {
            let stack_top = self.stack.as_mut_ptr_range().end.cast::<c_void>();
            libc::clone(
                in_child,
                stack_top,
                flags,
                (&raw const shared).cast_mut().cast::<c_void>(),
                pid.as_ptr(),
            )
        };
        let errno = Errno::last();
        restore_signals(&unblocked);
        if child < 0 {
            return Err(Failure {
                step: Step::Clone,
                errno,
            });
        }
        match Step::of(shared.step.load(Ordering::Acquire)) {
            None => Ok(child),
            Some(step) => Err(Failure {
                step,
                errno: Errno::from_raw(shared.errno.load(Ordering::Acquire)),
            }),
        }
    }
}

fn block_signals() -> SigSet {
    let mut before = SigSet::empty();
    // Neither call fails with these arguments; if one did, the child would keep the mask that the spawner has.
    let _ = nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
    before
}

fn restore_signals(before: &SigSet) {
    let _ = nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
}

/// A raw system call of the child; a negative result leaves the reason in `errno`.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: made in the child with arguments that live in the parent's stopped frame: pointers lead to
        // null-ended strings or arrays of the plan, or to local values, with the lengths passed beside them.
        unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}

/// The child's life until exec. Returns only on failure, and the value is its exit code.
extern "C" fn in_child(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passed a `Shared` that lives until this child has called exec or ended.
    let shared = unsafe { &*argument.cast::<Shared<'_>>() };
    let failed = become_program(shared);
    shared.errno.store(errno(), Ordering::Release);
    shared.step.store(failed as i32, Ordering::Release);
    call!(SYS_exit_group, 127 as c_long);
    127
}

/// Why the last call failed.
fn errno() -> c_int {
    // SAFETY: reads this thread's errno, which the failed call has just set.
    unsafe { *libc::__errno_location() }
}

/// Does everything; returns the step that failed, with its reason in `errno`.
fn become_program(shared: &Shared<'_>) -> Step {
    let plan = shared.plan;
    default_signals();
    // A new process cannot lead a group, so this does not fail.
    call!(SYS_setsid);
    // While it may still; afterwards these are the daemon's.
    give_back(shared.own);
    if let Some(user) = &plan.credentials {
        if !leave_keyring() {
            return Step::User;
        }
        let (uid, gid) = (c_long::from(user.uid), c_long::from(user.gid));
        if call!(SYS_setgroups, user.groups.len(), user.groups.as_ptr()) != 0
            || call!(SYS_setresgid, gid, gid, gid) != 0
            || call!(SYS_setresuid, uid, uid, uid) != 0
        {
            return Step::User;
        }
    }
    if !stays_below(shared.parent) {
        return Step::Setup;
    }
    if !plan.new_privileges
        && call!(
            SYS_prctl,
            libc::PR_SET_NO_NEW_PRIVS,
            1 as c_long,
            0 as c_long,
            0 as c_long,
            0 as c_long
        ) != 0
    {
        return Step::Setup;
    }
    call!(SYS_umask, 0o022 as c_long);
    if !enter_first(&plan.workdirs) {
        return Step::Workdir;
    }
    if let Err(step) = streams(shared) {
        return step;
    }
    // Everything of ours is close-on-exec already; this also covers what a library may have opened without. Kernels
    // before 5.11 do not know the call and are left with the first half.
    call!(
        SYS_close_range,
        3 as c_long,
        c_long::from(u32::MAX),
        libc::CLOSE_RANGE_CLOEXEC as c_long
    );
    let none_blocked: u64 = 0;
    call!(
        SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const none_blocked,
        std::ptr::null::<u64>(),
        size_of::<u64>()
    );
    execute(plan);
    Step::Exec
}

/// Ends with the spawner from now on. Until exec it carries no mark, so the next spawner would not find it; and what the
/// next one kills anyway may as well end at once. After the change of user, which takes the setting back.
///
/// That the user may not look into the memory that is still the spawner's needs no call: with the change of user the
/// kernel made that memory undumpable, for the spawner too.
fn stays_below(parent: c_long) -> bool {
    let (signal, none) = (c_long::from(libc::SIGKILL), 0 as c_long);
    let set = call!(SYS_prctl, libc::PR_SET_PDEATHSIG, signal, none, none, none);
    // It may have died before the setting; whoever adopted this process then is another one.
    set == 0 && call!(SYS_getppid) == parent
}

/// Limits and favours that are the daemon's own. None of it fails in a way that a task must not start for.
fn give_back(own: Own) {
    let core = [0, own.hard_core];
    call!(
        SYS_prlimit64,
        0 as c_long,
        libc::RLIMIT_CORE as c_long,
        core.as_ptr(),
        std::ptr::null::<u64>()
    );
    if !own.spared {
        return;
    }
    // Before the change of user: then the file is still ours. The kernel lets a child of vfork change its own value only.
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let path: *const c_char = OOM_SCORE_FILE.as_ptr();
    let file = call!(SYS_openat, libc::AT_FDCWD, path, flags, 0 as c_long);
    if file >= 0 {
        call!(SYS_write, file, c"0".as_ptr(), 1 as c_long);
        call!(SYS_close, file);
    }
}

/// Leaves the daemon's session keyring for an empty one: who is in it may use the keys of root that lie there, whoever
/// they are. Made before the change of user, because each user may have few. Kernels without keys, and containers that
/// allow no use of them, have nothing to leave.
fn leave_keyring() -> bool {
    let joined = call!(
        SYS_keyctl,
        c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING),
        std::ptr::null::<c_char>()
    );
    joined >= 0 || matches!(errno(), libc::ENOSYS | libc::EPERM | libc::EACCES)
}

/// Back to the default for every signal: exec would keep those that are ignored.
fn default_signals() {
    // The kernel's own `struct sigaction`, which is smaller than the C library's; all zero means default.
    let default = [0u64; 4];
    for signal in 1..=64 as c_long {
        // KILL and STOP cannot be set, which is as it should be.
        call!(
            SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            std::ptr::null::<u64>(),
            size_of::<u64>()
        );
    }
}

fn enter_first(workdirs: &[std::ffi::CString]) -> bool {
    workdirs.iter().any(|dir| call!(SYS_chdir, dir.as_ptr()) == 0)
}

fn streams(shared: &Shared<'_>) -> Result<(), Step> {
    let null = shared.null;
    direct(&shared.plan.stdout, null, 1).ok_or(Step::Stdout)?;
    direct(&shared.plan.stderr, null, 2).ok_or(Step::Stderr)?;
    let input = match &shared.plan.stdin {
        Some(path) => open_input(path).ok_or(Step::Stdin)?,
        None => null,
    };
    duplicate(input, 0).ok_or(Step::Setup)
}

fn open_input(path: &CStr) -> Option<c_int> {
    // Non-blocking, so that a pipe without a writer is an empty input and not a spawner that waits for ever.
    let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let path: *const c_char = path.as_ptr();
    let file = call!(SYS_openat, libc::AT_FDCWD, path, flags, 0 as c_long);
    let file = c_int::try_from(file).ok().filter(|file| *file >= 0)?;
    // A folder can be opened; reading no bytes of it fails already, which reading none of anything else does not.
    let nothing = std::ptr::null::<u8>();
    if call!(SYS_read, file, nothing, 0 as c_long) < 0 {
        return None;
    }
    (call!(SYS_fcntl, file, libc::F_SETFL, 0 as c_long) == 0).then_some(file)
}

fn direct(target: &Target, null: c_int, number: c_int) -> Option<()> {
    match target {
        Target::Null => duplicate(null, number),
        Target::Stdout => duplicate(1, number),
        Target::Open { path, append } => duplicate(open(path, *append)?, number),
    }
}

/// `dup3` where the numbers differ, which they do: 0, 1 and 2 are open in the spawner, so no new file gets them.
fn duplicate(from: c_int, to: c_int) -> Option<()> {
    (call!(SYS_dup3, from, to, 0 as c_long) >= 0).then_some(())
}

fn open(path: &CStr, append: bool) -> Option<c_int> {
    let end = if append { libc::O_APPEND } else { libc::O_TRUNC };
    // Non-blocking, so that a pipe without a reader is an error and not a spawner that waits for ever.
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK | end;
    let path: *const c_char = path.as_ptr();
    let file = call!(SYS_openat, libc::AT_FDCWD, path, flags, 0o666 as c_long);
    let file = c_int::try_from(file).ok().filter(|file| *file >= 0)?;
    let blocking = if append { libc::O_APPEND } else { 0 };
    (call!(SYS_fcntl, file, libc::F_SETFL, blocking) == 0).then_some(file)
}

/// Tries every file that the program may be. Like a shell, it goes on after a missing one and after one that may not be
/// executed, and tells of the latter when nothing else was found.
fn execute(plan: &Plan) {
    let mut denied = false;
    for program in &plan.programs {
        call!(
            SYS_execve,
            program.as_ptr(),
            plan.arguments.as_ptr(),
            plan.environment.as_ptr()
        );
        match errno() {
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ENOTDIR => {}
            _ => return,
        }
    }
    let why = if denied { libc::EACCES } else { libc::ENOENT };
    // SAFETY: writes this thread's errno, which the parent's stopped thread does not use.
    unsafe { *libc::__errno_location() = why };
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;
    use proto::ids::{AttemptId, BootId};

    use super::*;
    use crate::spawner::message::{Credentials, Output, Role, SpawnOrder};

    fn order(folder: &std::path::Path, command: &[&str]) -> SpawnOrder {
        SpawnOrder {
            attempt: AttemptId(1),
            role: Role::Root,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            program: None,
            env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("A".to_owned(), "b".to_owned()),
            ],
            workdirs: vec![folder.to_str().expect("text").to_owned()],
            own_workdir: true,
            stdin: None,
            stdout: Output::File { path: "out".to_owned() },
            stderr: Output::Stdout,
            credentials: None,
            runtime_limit: None,
            new_privileges: false,
            single: false,
            ahead: false,
            cores: Vec::new(),
        }
    }

    fn run(order: &SpawnOrder) -> Result<i32, String> {
        let plan = Plan::new(order, BootId(9)).expect("a plan");
        let pid = AtomicI32::new(0);
        let started = Starter::new().expect("a starter").start(&plan, &pid);
        let told = pid.load(Ordering::Acquire);
        assert!(told > 0, "the kernel tells the number before the child runs");
        let status = waitpid(Pid::from_raw(told), None).expect("it ends");
        match (started, status) {
            (Ok(pid), WaitStatus::Exited(_, code)) => {
                assert_eq!(pid, told);
                Ok(code)
            }
            (Err(failure), WaitStatus::Exited(_, 127)) => Err(plan.explain(failure)),
            other => panic!("{other:?}"),
        }
    }

    fn output(folder: &std::path::Path) -> String {
        std::fs::read_to_string(folder.join("out")).expect("an output")
    }

    #[test]
    fn a_program_gets_its_folder_streams_session_and_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "pwd; echo $A $MUSTER_ATTEMPT >&2; trap | wc -l; readlink /proc/self/fd/0; \
                      test $(cut -d' ' -f6 /proc/$$/stat) = $$ && grep SigBlk /proc/self/status; ls /proc/self/fd | wc -l; exit 7";
        assert_eq!(run(&order(folder.path(), &["sh", "-c", script])), Ok(7));
        let boot = BootId(9);
        // The listing holds the three streams and the folder that is being listed.
        let expected = format!(
            "{}\nb 1@{boot}\n0\n/dev/null\nSigBlk:\t{:016x}\n4\n",
            folder.path().display(),
            0
        );
        assert_eq!(output(folder.path()), expected);
    }

    #[test]
    fn ignored_signals_are_not_inherited() {
        // Rust programs ignore SIGPIPE, this one too.
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            run(&order(folder.path(), &["grep", "SigIgn", "/proc/self/status"])),
            Ok(0)
        );
        assert_eq!(output(folder.path()), format!("SigIgn:\t{:016x}\n", 0));
    }

    #[test]
    fn nothing_of_the_daemon_is_open_and_its_mask_and_limits_are_a_login_s() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = std::fs::File::create(folder.path().join("secret")).expect("a file");
        // As a library might have opened it.
        let kept = nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_DUPFD(100)).expect("a descriptor");
        assert!(kept >= 100);
        let words = "cd /proc/self/fd; echo *; umask; ulimit -Sc; ulimit -Hc; grep -h ^Sig[BI] /proc/self/status";
        assert_eq!(run(&order(folder.path(), &["sh", "-c", words])), Ok(0));
        let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).expect("a limit");
        let hard = if hard == libc::RLIM_INFINITY {
            "unlimited".to_owned()
        } else {
            (hard / 512).to_string()
        };
        let none = "0".repeat(16);
        // The shell has the folder open that it lists.
        assert_eq!(
            output(folder.path()),
            format!("0 1 2 3\n0022\n0\n{hard}\nSigBlk:\t{none}\nSigIgn:\t{none}\n")
        );
    }

    #[test]
    fn a_task_is_not_spared_when_memory_runs_out() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED a_task_is_not_spared_when_memory_runs_out: needs root");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(OOM_SCORE_PATH, "200").expect("raises this process's");
        let order = order(folder.path(), &["cat", OOM_SCORE_PATH]);
        let plan = Plan::new(&order, BootId(9)).expect("a plan");
        for (spared, expected) in [(false, "200\n"), (true, "0\n")] {
            let mut starter = Starter::new().expect("a starter");
            starter.own.spared = spared;
            let child = starter.start(&plan, &AtomicI32::new(0)).expect("starts");
            waitpid(Pid::from_raw(child), None).expect("it ends");
            assert_eq!(output(folder.path()), expected);
        }
        assert_eq!(
            std::fs::read_to_string(OOM_SCORE_PATH).expect("reads"),
            "200\n",
            "the spawner keeps its own"
        );
    }

    #[test]
    fn the_daemon_s_keys_stay_behind() {
        let listed = |text: &str| text.contains("muster-test-secret");
        let (kind, name) = (c"user", c"muster-test-secret");
        // SAFETY: all arguments are numbers or strings that live through the calls.
        let added = unsafe {
            libc::syscall(
                libc::SYS_keyctl,
                libc::KEYCTL_JOIN_SESSION_KEYRING,
                std::ptr::null::<c_char>(),
            );
            libc::syscall(
                libc::SYS_add_key,
                kind.as_ptr(),
                name.as_ptr(),
                c"x".as_ptr(),
                1,
                libc::KEY_SPEC_SESSION_KEYRING,
            )
        };
        let known = std::fs::read_to_string("/proc/keys").unwrap_or_default();
        if added < 0 || !listed(&known) || !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED the_daemon_s_keys_stay_behind: needs root, and a kernel that lets it keep keys");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("sets the mode");
        let mut order = order(folder.path(), &["cat", "/proc/keys"]);
        order.credentials = Some(Credentials {
            uid: 4242,
            gid: 4242,
            groups: vec![4242],
        });
        assert_eq!(run(&order), Ok(0));
        let seen = output(folder.path());
        assert!(!listed(&seen), "{seen}");
        let still = std::fs::read_to_string("/proc/keys").expect("is there");
        assert!(listed(&still), "the daemon keeps its own: {still}");
    }

    #[test]
    fn standard_input_is_a_file_and_a_program_has_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("in"), "one\ntwo\n").expect("writes");
        let mut order = order(
            folder.path(),
            &["named", "-c", "cat; echo $0 >&2; tr '\\0' ' ' < /proc/$$/cmdline"],
        );
        order.program = Some("sh".to_owned());
        order.stdin = Some("in".to_owned());
        assert_eq!(run(&order), Ok(0));
        assert!(
            output(folder.path()).starts_with("one\ntwo\nnamed\nnamed -c cat"),
            "{}",
            output(folder.path())
        );
        let wrong = |path: &str| {
            let order = SpawnOrder {
                stdin: Some(path.to_owned()),
                ..order.clone()
            };
            run(&order).expect_err("it fails")
        };
        assert_eq!(
            wrong("none"),
            "standard input cannot be read from 'none': no such file or folder"
        );
        assert_eq!(
            wrong("/tmp"),
            "standard input cannot be read from '/tmp': it is a folder"
        );
    }

    #[test]
    fn each_failure_says_what_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, "echo no first line").expect("writes");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("sets the mode");
        };
        file("plain", 0o644);
        file("script", 0o755);
        let words = |command: &[&str]| run(&order(folder.path(), command)).expect_err("it fails");
        assert_eq!(
            words(&["no-such-program"]),
            "no program 'no-such-program' in PATH (/usr/bin:/bin)"
        );
        let nothing = words(&["./nothing"]);
        assert!(nothing.starts_with("no program './nothing'"), "{nothing}");
        let own = format!(
            "the task starts in {}, its own new folder; give /workdir:DIR",
            folder.path().display()
        );
        assert!(nothing.ends_with(&own), "{nothing}");
        assert!(!words(&["/no/such/program"]).contains("/workdir"));
        let blanks = "the name contains blanks: leave out the quotes, or use sh -c 'echo hi'";
        assert!(words(&["echo hi"]).ends_with(blanks));
        assert!(words(&["./echo hi"]).ends_with("or use sh -c './echo hi'"));
        assert!(words(&["./plain"]).contains("chmod +x"));
        assert!(words(&["/tmp"]).contains("it is a directory"));
        assert!(words(&["./script"]).contains("#!/bin/sh"));

        let mut elsewhere = order(folder.path(), &["true"]);
        elsewhere.workdirs = vec!["/no/such/dir".to_owned()];
        let text = run(&elsewhere).expect_err("it fails");
        assert!(
            text.starts_with("the working directory '/no/such/dir' does not exist"),
            "{text}"
        );
        let mut unwritable = order(folder.path(), &["true"]);
        unwritable.stdout = Output::File {
            path: "/no/such/out".to_owned(),
        };
        assert!(run(&unwritable).expect_err("it fails").contains("'/no/such/out'"));
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        unwritable.stdout = Output::File {
            path: "pipe".to_owned(),
        };
        assert!(run(&unwritable).expect_err("it does not wait").contains("nobody reads"));
    }

    #[test]
    fn a_user_is_taken_on_before_any_file_is_touched() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED a_user_is_taken_on_before_any_file_is_touched: needs root");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("sets the mode");
        let mut order = order(folder.path(), &["sh", "-c", "id -u; id -g; id -G"]);
        order.credentials = Some(Credentials {
            uid: 4242,
            gid: 4343,
            groups: vec![4343, 4444],
        });
        assert_eq!(run(&order), Ok(0));
        assert_eq!(output(folder.path()), "4242\n4343\n4343 4444\n");
        let made = std::fs::metadata(folder.path().join("out")).expect("it is there");
        assert_eq!(
            (made.uid(), made.gid()),
            (4242, 4343),
            "the output was opened as the user"
        );

        let roots = folder.path().join("roots");
        std::fs::write(&roots, "precious").expect("writes");
        order.stdout = Output::File {
            path: "roots".to_owned(),
        };
        assert!(
            run(&order)
                .expect_err("root's file is not the user's")
                .contains("permission denied")
        );
        assert_eq!(std::fs::read_to_string(&roots).expect("reads"), "precious");
    }
}
