//! The commands about jobs.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::JobSubmit,
        Noun::Job,
        "submit",
        "run a program or a script on the cluster",
    )
    .takes("PROGRAM [ARGUMENTS]", 0, ANY, "a command, the program to run")
    .command()
    .examples(&[
        "job submit hostname",
        "job submit /nodegroup:azurenodes /numnodes:4 mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul",
        "job submit --num-cores 8 --runtime 1:30 --env OMP_NUM_THREADS=8 --workdir $PWD ./solver --steps 100",
        "job submit /parametric:1-100 /stdout:/shared/out*.txt app in*.dat",
        "job submit --wait run.sh",
        "job submit -it bash",
        "job submit /id:12",
        "job submit --job-file graph.toml",
    ]),
    verb(
        Verb::JobNew,
        Noun::Job,
        "new",
        "make a job without tasks; nothing of it starts before 'job submit /id'",
    )
    .examples(&["job new /jobname:night /numnodes:4"]),
    verb(Verb::JobAdd, Noun::Job, "add", "add a task to a job")
        .takes("JOB PROGRAM [ARGUMENTS]", 2, ANY, "a job id and the program to run")
        .id_and_command()
        .examples(&[
            "job add 12 /name:mesh /numcores:4 mesher in.geo",
            "job add 12 /depend:mesh /numnodes:4 mpiexec -c 1 solver",
            "job add 12 /type:NodePrep stage-in /shared/data",
        ]),
    verb(Verb::JobList, Noun::Job, "list", "your jobs that are not over")
        .takes("[JOB...]", 0, ANY, "")
        .examples(&[
            "job list",
            "job list --all",
            "job list last 5",
            "job list /state:Failed /user:alice -o json",
            "job list -o '{id} {status} {spec.name}'",
        ]),
    verb(Verb::JobView, Noun::Job, "view", "jobs, with all that is known of them")
        .takes("JOB...", 1, ANY, "a job id")
        .examples(&["job view 12", "job view last"]),
    verb(
        Verb::JobListTasks,
        Noun::Job,
        "listtasks",
        "the tasks of a job; a sweep is one line without --expand",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job listtasks 12 /expand", "job listtasks 12 /state:Failed"]),
    verb(
        Verb::JobWait,
        Noun::Job,
        "wait",
        "wait until jobs are over; the exit code says how they went",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job wait 12 && echo it went well", "job wait last 5"]),
    verb(
        Verb::JobWatch,
        Noun::Job,
        "watch",
        "tell each change of a job until it is over",
    )
    .takes("JOB", 1, ANY, "a job id")
    .examples(&["job watch 12"]),
    verb(
        Verb::JobCancel,
        Noun::Job,
        "cancel",
        "end jobs; their programs are asked to, and killed after 15 s",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&[
        "job cancel 12",
        "job cancel 1-10,15",
        "job cancel 12 --force --message \"wrong input\"",
    ]),
    verb(
        Verb::JobRequeue,
        Noun::Job,
        "requeue",
        "run again what did not end well of running, failed or canceled jobs",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job requeue 12", "job requeue 12 --filter failed"]),
    verb(Verb::JobFinish, Noun::Job, "finish", "end jobs as Finished")
        .takes("JOB...", 1, ANY, "a job id")
        .examples(&["job finish 12"]),
    verb(
        Verb::JobModify,
        Noun::Job,
        "modify",
        "change what jobs that are not over ask for",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&[
        "job modify 12 /priority:Highest",
        "job modify 12 /progress:40 /progressmsg:meshing",
    ]),
    verb(
        Verb::JobClone,
        Noun::Job,
        "clone",
        "make a new job like another one, to be changed and submitted",
    )
    .takes("JOB", 1, ANY, "a job id")
    .examples(&["job clone 12"]),
    verb(
        Verb::JobDisable,
        Noun::Job,
        "disable",
        "start nothing of jobs until they are enabled; what runs waits again, see --tasks",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job disable 12", "job disable 12 --tasks wait"]),
    verb(
        Verb::JobEnable,
        Noun::Job,
        "enable",
        "put disabled jobs back into the queue",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job enable 12"]),
    verb(
        Verb::JobTerminate,
        Noun::Job,
        "terminate",
        "bring jobs to their end, release tasks included; they are Terminated then",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job terminate 12 --reason \"converged\""]),
    verb(
        Verb::JobDelete,
        Noun::Job,
        "delete",
        "take jobs away with their tasks and files; those that are not over are terminated first",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["job delete 12", "job delete 1-10"]),
    verb(
        Verb::JobWhy,
        Noun::Job,
        "why",
        "why jobs or tasks wait, what could change it, and when",
    )
    .takes("JOB|TASK...", 1, ANY, "a job id or a task id")
    .examples(&["job why 12", "job why 12.3"]),
];
