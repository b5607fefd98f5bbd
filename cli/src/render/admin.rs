//! What the commands about users, log-ins, settings, many nodes at once and the health of the cluster have found.

use std::fmt::Write as _;

use proto::model::job::Env;
use proto::model::user::UserRow;
use serde_json::{Value, json};

use super::people::tamed;
use super::table::{Kind, Table, Tint, properties};
use super::{Form, Look, Printed, moment, remarks_text, tame};
use crate::answer::{Check, ClusRan, ClusterAnswer, JoinLine, LoginToken, Ran, SettingsAnswer, Verdict, Who};
use crate::login::LoggedIn;

/// Hex digits of a key's hash that people see.
const KEY_DIGITS: usize = 12;

/// A difference between clocks that is worth a word, in milliseconds.
const CLOCKS_APART_MS: u64 = 10_000;

/// The text of such an answer.
pub(super) fn render(answer: &ClusterAnswer, look: &Look) -> Printed {
    let out = match look.form {
        Form::Json => match answer {
            ClusterAnswer::Told => String::new(),
            _ => format!("{:#}\n", json_of(answer)),
        },
        Form::Quiet => quiet(answer).iter().map(|line| tame(line) + "\n").collect(),
        _ => people(answer, look),
    };
    Printed {
        out,
        err: remarks(answer, look),
    }
}

fn people(answer: &ClusterAnswer, look: &Look) -> String {
    match answer {
        ClusterAnswer::Users(users) => users_text(users, look),
        ClusterAnswer::LoggedIn(login) => logged_in(login, look),
        ClusterAnswer::Who(who) => properties(&who_properties(who, look)),
        ClusterAnswer::LoginToken(token) => format!("{}\n", token.token),
        ClusterAnswer::JoinLine(line) => format!("{}\n", line.line),
        ClusterAnswer::Settings(settings) => settings_text(settings, look),
        ClusterAnswer::Checks(checks) => checks_text(checks, look),
        ClusterAnswer::Ran(ran) => sorted(ran, look) + &summary(ran),
        ClusterAnswer::Told => String::new(),
    }
}

/// For people beside what was asked for, on standard error.
fn remarks(answer: &ClusterAnswer, look: &Look) -> String {
    match answer {
        ClusterAnswer::JoinLine(line) if look.form != Form::Quiet => how_to_join(line, look),
        ClusterAnswer::LoginToken(token) if look.form != Form::Quiet => how_to_log_in(token, look),
        ClusterAnswer::LoggedIn(login) if login.clock_ahead_ms.unsigned_abs() > CLOCKS_APART_MS => format!(
            "This machine's clock is {} the head node's; certificates need clocks that agree, see 'muster doctor'.\n",
            apart(login.clock_ahead_ms)
        ),
        _ => String::new(),
    }
}

/// A difference between clocks in words: `3.2 s ahead of`.
pub(crate) fn apart(ahead_ms: i64) -> String {
    let word = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let tenths = ahead_ms.unsigned_abs() / 100;
    format!("{}.{} s {word}", tenths / 10, tenths % 10)
}

fn how_to_join(line: &JoinLine, look: &Look) -> String {
    let times = match line.uses {
        1 => "once".to_owned(),
        uses => format!("{uses} times"),
    };
    format!(
        "Paste this line as root on the new host. It is good {times}, until {}. The host reaches the head node at {} (UDP).\n{}",
        moment::show(line.expires_at, look.zone),
        tame(&line.head),
        remarks_text(&line.remarks)
    )
}

fn how_to_log_in(token: &LoginToken, look: &Look) -> String {
    format!(
        "{} types on the other host, once, until {}:\n  muster login {} {}\n{}",
        tame(&token.user),
        moment::show(token.expires_at, look.zone),
        tame(&token.head),
        token.token,
        remarks_text(&token.remarks)
    )
}

fn users_text(users: &[UserRow], look: &Look) -> String {
    if users.is_empty() {
        return "No user was added. On the head node's own machine everybody is known by their account.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("User", Kind::Id),
        ("Role", Kind::Id),
        ("Uid", Kind::Number),
        ("Gid", Kind::Number),
        ("Key", Kind::Id),
        ("Host", Kind::Text),
        ("Good until", Kind::Id),
    ]);
    for user in users {
        let row = |key: String, host: String, until: String| {
            let first = [user.name.to_string(), user.role.as_str().to_owned()];
            let [name, role] = first;
            [name, role, user.uid.to_string(), user.gid.to_string(), key, host, until]
        };
        if let Some(token) = &user.login {
            let until = moment::show(token.expires_at, look.zone);
            table.row(row("-".to_owned(), "(token not used yet)".to_owned(), until));
        }
        for credential in &user.credentials {
            table.row(row(
                short(&credential.key.to_string()).to_owned(),
                dash(&credential.host),
                moment::show(credential.expires_at, look.zone),
            ));
        }
        if user.credentials.is_empty() && user.login.is_none() {
            table.row(row("-".to_owned(), "-".to_owned(), "-".to_owned()));
        }
    }
    match look.form {
        Form::List => table.blocks(),
        _ => table.lines(look.width, look.colour),
    }
}

fn logged_in(login: &LoggedIn, look: &Look) -> String {
    format!(
        "Logged in to cluster {} at {} as {} ({}). The credential is good until {} and renews itself while you use it.\n",
        tame(&login.login.cluster),
        tame(&login.login.head),
        tame(&login.login.user),
        login.login.role.as_str(),
        moment::show(login.expires_at, look.zone)
    )
}

fn who_properties(who: &Who, look: &Look) -> Vec<(&'static str, String)> {
    let proof = match (&who.certificate_ends, &who.key) {
        (Some(_), Some(key)) => format!("certificate of this host, key {key}"),
        _ => "this machine's kernel, on the head node's socket".to_owned(),
    };
    let mut pairs = vec![
        ("User", who.user.clone()),
        ("Role", who.role.as_str().to_owned()),
        ("Cluster", who.cluster.clone()),
        ("Head node", who.head.clone()),
        ("Proved by", proof),
    ];
    if let Some(at) = who.certificate_ends {
        pairs.push(("Good until", moment::show(at, look.zone)));
    }
    tamed(pairs, look)
}

fn settings_text(settings: &SettingsAnswer, look: &Look) -> String {
    match settings {
        SettingsAnswer::Envs { set, standing } => {
            let lines = |env: &Env| -> String {
                env.iter()
                    .map(|(name, value)| format!("{}={}\n", tame(name), tame(value.as_deref().unwrap_or_default())))
                    .collect()
            };
            // What somebody set goes over what is there by itself.
            let rest = standing.iter().filter(|(name, _)| !set.contains_key(*name));
            let rest: Env = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
            lines(&rest) + &lines(set)
        }
        SettingsAnswer::Parameters(parameters) => {
            let mut table = Table::new(&[
                ("Parameter", Kind::Id),
                ("Value", Kind::Id),
                ("Set", Kind::Id),
                ("Meaning", Kind::Text),
            ]);
            for parameter in parameters {
                let settable = if parameter.settable { "yes" } else { "no" };
                table.row([
                    parameter.name.clone(),
                    dash(&parameter.value),
                    settable.to_owned(),
                    parameter.meaning.clone(),
                ]);
            }
            table.lines(look.width, look.colour)
        }
    }
}

fn checks_text(checks: &[Check], look: &Look) -> String {
    let width = checks.iter().map(|check| check.what.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let word = format!("{:<4}", check.verdict.word());
        let tint = match check.verdict {
            Verdict::Ok => Tint::Good,
            Verdict::Warn => Tint::Waiting,
            Verdict::Fail => Tint::Bad,
        };
        // A String takes everything, here and below.
        let _ = writeln!(
            out,
            "{}  {:<width$}  {}",
            tint.paint(&word, look.colour),
            tame(&check.what),
            tame(&check.found)
        );
        if !check.remedy.is_empty() {
            let _ = writeln!(out, "      {:<width$}  -> {}", "", tame(&check.remedy));
        }
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let _ = writeln!(
        out,
        "\n{} OK, {} WARN, {} FAIL",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail)
    );
    out
}

/// The pieces of `/sorted`.
fn sorted(ran: &ClusRan, look: &Look) -> String {
    if ran.told {
        return String::new();
    }
    let mut out = String::new();
    for node in &ran.nodes {
        let _ = writeln!(out, "{:-<60}", format!("-------- {} ", tame(node.node.as_str()))); // as above
        for bytes in [&node.output, &node.errors] {
            out += &text_of(bytes, look);
        }
    }
    out
}

/// Output of a program: tamed line by line for a terminal, else as it is.
fn text_of(bytes: &[u8], look: &Look) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.is_empty() {
        return String::new();
    }
    let mut out: String = match look.width {
        Some(_) => text.lines().map(|line| tame(line) + "\n").collect(),
        None => text.into_owned(),
    };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn summary(ran: &ClusRan) -> String {
    let failed: Vec<&Ran> = ran.nodes.iter().filter(|node| node.outcome.is_err()).collect();
    let well = ran.nodes.len() - failed.len();
    // What went wrong everywhere alike is said once.
    let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
    for node in &failed {
        let Err(why) = &node.outcome else { continue };
        let why = tame(why).replace(&format!("node {}: ", node.node), "");
        match alike.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(node.node.as_str()),
            None => alike.push((why, vec![node.node.as_str()])),
        }
    }
    let names = alike.iter().map(|(why, names)| format!("{} ({why})", names.join(" ")));
    let names: Vec<String> = names.collect();
    let tail = if names.is_empty() {
        String::new()
    } else {
        format!(": {}", names.join(", "))
    };
    format!("\n{well} succeeded, {} failed{tail}\n", failed.len())
}

fn quiet(answer: &ClusterAnswer) -> Vec<String> {
    match answer {
        ClusterAnswer::Users(users) => users.iter().map(|user| user.name.to_string()).collect(),
        ClusterAnswer::LoggedIn(login) => vec![login.login.user.clone()],
        ClusterAnswer::Who(who) => vec![who.user.clone()],
        ClusterAnswer::LoginToken(token) => vec![token.token.clone()],
        ClusterAnswer::JoinLine(line) => vec![line.line.clone()],
        ClusterAnswer::Settings(SettingsAnswer::Envs { set, .. }) => set.keys().cloned().collect(),
        ClusterAnswer::Settings(SettingsAnswer::Parameters(parameters)) => {
            parameters.iter().map(|parameter| parameter.name.clone()).collect()
        }
        ClusterAnswer::Checks(checks) => {
            let bad = checks.iter().filter(|check| check.verdict != Verdict::Ok);
            bad.map(|check| format!("{} {}", check.verdict.word(), check.what))
                .collect()
        }
        ClusterAnswer::Ran(ran) => {
            let failed = ran.nodes.iter().filter(|node| node.outcome.is_err());
            failed.map(|node| node.node.to_string()).collect()
        }
        ClusterAnswer::Told => Vec::new(),
    }
}

fn json_of(answer: &ClusterAnswer) -> Value {
    match answer {
        // The hash of a token that waits is of no use to anybody.
        ClusterAnswer::Users(users) => users
            .iter()
            .map(|user| {
                json!({
                    "name": user.name,
                    "uid": user.uid,
                    "gid": user.gid,
                    "role": user.role,
                    "added_at": user.added_at,
                    "credentials": user.credentials,
                    "token_expires_at": user.login.as_ref().map(|token| token.expires_at),
                })
            })
            .collect(),
        ClusterAnswer::LoggedIn(login) => json!({
            "login": login.login,
            "expires_at": login.expires_at,
            "clock_ahead_ms": login.clock_ahead_ms,
        }),
        ClusterAnswer::Who(who) => json!({
            "user": who.user,
            "role": who.role,
            "cluster": who.cluster,
            "head": who.head,
            "proved_by": if who.key.is_some() { "certificate" } else { "socket" },
            "certificate_ends": who.certificate_ends,
            "key": who.key,
        }),
        ClusterAnswer::LoginToken(token) => json!({
            "token": token.token,
            "user": token.user,
            "head": token.head,
            "expires_at": token.expires_at,
        }),
        ClusterAnswer::JoinLine(line) => json!({
            "line": line.line,
            "token": line.token,
            "head": line.head,
            "expires_at": line.expires_at,
            "uses": line.uses,
        }),
        ClusterAnswer::Settings(SettingsAnswer::Envs { set, standing }) => json!({ "set": set, "standing": standing }),
        ClusterAnswer::Settings(SettingsAnswer::Parameters(parameters)) => json!(parameters),
        ClusterAnswer::Checks(checks) => checks
            .iter()
            .map(|check| {
                json!({
                    "what": check.what,
                    "verdict": check.verdict.word(),
                    "found": check.found,
                    "remedy": check.remedy,
                })
            })
            .collect(),
        ClusterAnswer::Ran(ran) => json!({
            "job": ran.job,
            "nodes": ran.nodes.iter().map(ran_json).collect::<Vec<_>>(),
        }),
        ClusterAnswer::Told => Value::Null,
    }
}

fn ran_json(ran: &Ran) -> Value {
    json!({
        "node": ran.node,
        "ok": ran.outcome.is_ok(),
        "failure": ran.outcome.as_ref().err(),
        "stdout": String::from_utf8_lossy(&ran.output),
        "stderr": String::from_utf8_lossy(&ran.errors),
    })
}

fn short(key: &str) -> &str {
    key.get(..KEY_DIGITS).unwrap_or(key)
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proto::ids::{JobId, NodeName};
    use proto::units::Timestamp;
    use time::UtcOffset;

    use super::*;
    use crate::exit::Exit;
    use crate::render::Zone;

    fn look(form: Form) -> Look {
        Look {
            form,
            width: None,
            colour: false,
            zone: Zone::Fixed(UtcOffset::UTC),
            now: Timestamp(0),
        }
    }

    #[test]
    fn the_summary_names_who_failed_and_how() {
        let ran = |name: &str, output: &str, outcome: Result<(), String>| Ran {
            node: NodeName::new(name).expect("a name"),
            output: output.as_bytes().to_vec(),
            errors: Vec::new(),
            outcome,
        };
        let answer = ClusterAnswer::Ran(ClusRan {
            job: JobId(5),
            nodes: vec![ran("n1", "one\n", Ok(())), ran("n2", "two", Err("exit 3".to_owned()))],
            told: false,
        });
        assert_eq!(answer.exit(), Exit::Failed);
        let text = render(&answer, &look(Form::Table)).out;
        assert!(
            text.contains("-------- n1 ---") && text.contains("\none\n") && text.contains("\ntwo\n"),
            "{text}"
        );
        assert!(text.ends_with("\n1 succeeded, 1 failed: n2 (exit 3)\n"), "{text}");
        assert_eq!(render(&answer, &look(Form::Quiet)).out, "n2\n");
        let not = |name: &str| ran(name, "", Err(format!("not started: node {name}: no program 'x'")));
        let told = summary(&ClusRan {
            job: JobId(5),
            nodes: vec![not("n1"), ran("n2", "", Err("exit 3".to_owned())), not("n3")],
            told: true,
        });
        assert_eq!(
            told,
            "\n0 succeeded, 3 failed: n1 n3 (not started: no program 'x'), n2 (exit 3)\n"
        );
    }

    #[test]
    fn only_the_line_to_paste_is_on_standard_output() {
        let answer = ClusterAnswer::JoinLine(JoinLine {
            line: "muster-computenode join --head h:1 --token t".to_owned(),
            token: "t".to_owned(),
            head: "h:1".to_owned(),
            expires_at: Timestamp(1_795_269_787_123),
            uses: 4,
            remarks: vec!["mind".to_owned()],
        });
        let printed = render(&answer, &look(Form::Table));
        assert_eq!(printed.out, "muster-computenode join --head h:1 --token t\n");
        assert!(printed.err.contains("good 4 times, until 2026-11-21 14:03:07") && printed.err.ends_with("mind\n"));
    }

    #[test]
    fn checks_say_what_to_type_and_count() {
        let answer = ClusterAnswer::Checks(vec![
            Check::ok("head", "answers"),
            Check::warn("clocks", "n1 is 12.0 s ahead", "set n1's clock"),
        ]);
        assert_eq!(answer.exit(), Exit::Ok);
        assert_eq!(
            render(&answer, &look(Form::Table)).out,
            "OK    head    answers\nWARN  clocks  n1 is 12.0 s ahead\n              -> set n1's clock\n\n1 OK, 1 WARN, 0 FAIL\n"
        );
        let worse = ClusterAnswer::Checks(vec![Check::fail("head", "silent", "start it")]);
        assert_eq!(worse.exit(), Exit::Failed);
    }

    #[test]
    fn clocks_apart_in_words() {
        assert_eq!(apart(12_340), "12.3 s ahead of");
        assert_eq!(apart(-500), "0.5 s behind");
    }
}
