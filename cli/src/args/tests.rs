//! Reading command lines: both spellings, refused options, nearest names, and a command that survives verbatim.

use proptest::prelude::*;

use super::table::{Key, NOT_YET_PROGRAMS, NOT_YET_VERBS, Status, options, verbs};
use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A command, some of its options, and its words.
type Parsed = (Verb, Vec<(Key, Option<String>)>, Vec<String>);

fn parsed(program: &str, line: &str) -> Parsed {
    match parse(program, &words(line)) {
        Ok(Invocation::Do { verb, options, words }) => {
            let keys = [
                Key::NumNodes,
                Key::NodeGroup,
                Key::Exclusive,
                Key::Env,
                Key::Output,
                Key::RunTime,
                Key::All,
                Key::JobState,
                Key::NumCores,
            ];
            let given = keys
                .iter()
                .flat_map(|key| options.all(*key).map(|given| (given.key, given.value.clone())));
            (verb, given.collect(), words)
        }
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(program: &str, line: &str) -> String {
    parse(program, &words(line)).expect_err(line).to_string()
}

#[test]
fn the_line() {
    let line = "submit /nodegroup:azurenodes /numnodes:4 mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul";
    let (verb, options, program) = parsed("job", line);
    assert_eq!(verb, Verb::JobSubmit);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        options,
        [(Key::NumNodes, text("4")), (Key::NodeGroup, text("azurenodes"))]
    );
    assert_eq!(
        program,
        words("mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul")
    );
    assert_eq!(parsed("/opt/bin/muster", &format!("job {line}")), parsed("job", line));
}

#[test]
fn all_spellings_mean_the_same() {
    let expected = parsed("job", "submit /numnodes:4 /exclusive prog /x --y");
    for line in [
        "submit --num-nodes 4 --exclusive -- prog /x --y",
        "submit --numnodes=4 --exclusive=true prog /x --y",
        "SUBMIT /NumNodes:4 /Exclusive prog /x --y",
        "submit --NUM-NODES=4 /exclusive -- prog /x --y",
        "submit /num-nodes:4 --exclusive prog /x --y",
    ] {
        let (verb, mut options, program) = parsed("job", line);
        for (key, value) in &mut options {
            if *key == Key::Exclusive {
                *value = None;
            }
        }
        assert_eq!((verb, options, program), expected, "{line}");
    }
    assert_eq!(
        parsed("job", "submit /numprocessors:2 x").1,
        parsed("job", "submit --num-cores 2 x").1
    );
    assert_eq!(
        parsed("job", "list /status:failed"),
        parsed("job", "list --state failed")
    );
}

#[test]
fn flags_of_one_letter_go_together() {
    let keys = |line: &str| match parse("job", &words(line)) {
        Ok(Invocation::Do { options, words, .. }) => {
            let keys = options.own().map(|given| given.key).collect::<Vec<_>>();
            (keys, words)
        }
        other => panic!("{other:?}"),
    };
    let both = (vec![Key::Interactive, Key::Terminal], words("bash -i"));
    assert_eq!(keys("submit -it bash -i"), both);
    assert_eq!(keys("submit -i -t bash -i"), both);
    assert!(refused("job", "submit -iz x").contains("no option '-iz'"));
    assert!(refused("job", "submit -ii x").contains("twice"));
}

#[test]
fn the_second_word_begins_the_program_where_the_first_is_a_job() {
    let (verb, options, rest) = parsed("job", "add 12 /numcores:2 prog /numcores:4");
    assert_eq!((verb, options.len()), (Verb::JobAdd, 1));
    assert_eq!(rest, words("12 prog /numcores:4"));
    assert_eq!(parsed("job", "add --num-cores 2 12 -- -x").2, words("12 -x"));
}

#[test]
fn options_of_every_command_stand_anywhere_before_the_program() {
    for line in [
        "-o json job list",
        "job -o json list",
        "job list -o json",
        "job list --output=json",
        "job list /output:json",
    ] {
        assert_eq!(parsed("muster", line), parsed("job", "list -o json"), "{line}");
    }
    assert_eq!(parsed("job", "submit prog -o json").2, words("prog -o json"));
}

#[test]
fn programs_may_be_paths() {
    assert_eq!(parsed("job", "submit /bin/hostname -f").2, words("/bin/hostname -f"));
    assert_eq!(parsed("job", "submit -- /hostname").2, words("/hostname"));
    assert_eq!(
        refused("job", "submit /hostname"),
        "no option '/hostname' for 'job submit'; see 'job submit --help'; if it is the program, write '-- /hostname'"
    );
}

#[test]
fn what_is_misspelt_gets_the_nearest() {
    assert!(
        refused("job", "submit /numnode:4 x")
            .starts_with("no option '/numnode' for 'job submit'; did you mean '/numnodes'?")
    );
    assert_eq!(
        refused("job", "submit --num-node 4 x"),
        "no option '--num-node' for 'job submit'; did you mean '--num-nodes'?"
    );
    assert_eq!(
        refused("job", "sumbit x"),
        "'job' has no command 'sumbit'; did you mean 'submit'?; see 'job --help'"
    );
    assert_eq!(
        refused("muster", "nod list"),
        "no command 'nod'; did you mean 'node'?; see 'muster --help'"
    );
    assert_eq!(
        refused("job", "submit --num-nodes:4 x"),
        "'--num-nodes:4' mixes two spellings; write --num-nodes=VALUE or /numnodes:VALUE"
    );
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    assert_eq!(
        refused("job", "add 3"),
        "'job add' needs a job id and the program to run: job add [OPTIONS] JOB PROGRAM [ARGUMENTS]"
    );
    assert_eq!(
        refused("job", "submit /numnodes x"),
        "/numnodes needs a value: /numnodes:N[-M]"
    );
    assert_eq!(
        refused("job", "submit --num-nodes"),
        "--num-nodes needs a value: --num-nodes=N[-M]"
    );
    assert_eq!(
        refused("pool", "view a b"),
        "'pool view' does not know what to do with 'b': pool view [OPTIONS] POOL"
    );
    assert!(refused("job", "").contains("submit, new, add, list, view, listtasks, wait"));
    assert_eq!(
        refused("job", "submit /numnodes:1 --num-nodes 2 x"),
        "--num-nodes was given twice (before as /numnodes); give it once"
    );
    assert!(refused("muster", "-o json job list -o quiet").contains("twice"));
}

#[test]
fn every_option_that_is_not_built_is_refused_by_name() {
    let later = || options().filter(|spec| spec.status == Status::NotYet);
    assert!(later().count() > 15);
    let advice = |spec: &table::OptionSpec| match spec.instead {
        "" => String::new(),
        instead => format!(": {instead}"),
    };
    for spec in later() {
        for verb in spec.on {
            let noun = verb.spec().noun;
            for slash in [true, false] {
                let option = spec.spelling(slash);
                for line in [
                    format!("{} {option} x", verb.spec().name),
                    format!("{} {option}{}1 x", verb.spec().name, if slash { ':' } else { '=' }),
                ] {
                    assert_eq!(
                        parse_in(noun, &line).expect_err(&line).to_string(),
                        format!("{option} is not built yet; nothing was done{}", advice(spec))
                    );
                }
            }
        }
    }
    for (noun, verb) in NOT_YET_VERBS {
        assert!(refused(noun.as_str(), verb).contains("is not built yet"));
    }
    for program in NOT_YET_PROGRAMS {
        assert!(refused("muster", program).contains("is not built yet"));
    }
}

#[test]
fn names_are_clear_within_a_command() {
    for verb in verbs() {
        let mut names = Vec::new();
        for spec in table::GLOBAL
            .iter()
            .chain(options().filter(|spec| spec.on.contains(&verb.verb)))
        {
            names.extend(spec.plain_names());
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{}", verb.title());
        assert_eq!(verb.verb.spec().title(), verb.title());
        assert!(!verb.examples.is_empty(), "{}", verb.title());
    }
}

#[test]
fn help_is_on_every_level() {
    for mark in ["--help", "-h", "/?", "/help", "/HELP", "-?"] {
        assert_eq!(parse("muster", &words(mark)), Ok(Invocation::Help(Topic::Program)));
        assert_eq!(parse("job", &words(mark)), Ok(Invocation::Help(Topic::Noun(Noun::Job))));
        for spec in verbs() {
            let line = format!("{} {mark}", spec.name);
            assert_eq!(
                parse_in(spec.noun, &line),
                Ok(Invocation::Help(Topic::Verb(spec.verb))),
                "{line}"
            );
        }
    }
    assert_eq!(
        parse("muster", &words("help job why")),
        Ok(Invocation::Help(Topic::Verb(Verb::JobWhy)))
    );
    assert_eq!(parse("muster", &[]), Ok(Invocation::Help(Topic::Program)));
    assert_eq!(parse("node", &words("--version")), Ok(Invocation::Version));
    assert_eq!(parsed("job", "submit prog --help").2, words("prog --help"));
}

fn parse_in(noun: Noun, line: &str) -> Result<Invocation, UsageError> {
    if noun == Noun::Cluster || Noun::LINKED.contains(&noun) {
        return parse(noun.as_str(), &words(line));
    }
    parse("muster", &words(&format!("{} {line}", noun.as_str())))
}

#[test]
fn help_names_everything_and_fits() {
    let topics = verbs()
        .map(|spec| Topic::Verb(spec.verb))
        .chain([Topic::Program, Topic::Noun(Noun::Job)]);
    for (topic, width) in topics.flat_map(|topic| [(topic, 100), (topic, 80), (topic, 64)]) {
        let text = topic.text(width);
        assert!(text.contains("Examples:"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
    let text = Topic::Verb(Verb::JobSubmit).text(80);
    for spec in options().filter(|spec| spec.on.contains(&Verb::JobSubmit)) {
        assert!(text.contains(&spec.spelling(true)), "{}", spec.name);
    }
}

#[test]
fn the_reference_names_every_command_and_option() {
    let text = concat!(
        include_str!("../../../docs/cli.md"),
        include_str!("../../../docs/users-and-hosts.md")
    );
    for spec in verbs().filter(|spec| !spec.verb.is_hidden()) {
        assert!(
            text.contains(&format!("`{}", spec.title())),
            "docs/cli.md and docs/users-and-hosts.md lack {}",
            spec.title()
        );
    }
    for spec in options().filter(|spec| spec.status != Status::NotYet) {
        assert!(
            text.contains(&spec.spelling(false)),
            "docs/cli.md and docs/users-and-hosts.md lack {}",
            spec.spelling(false)
        );
    }
    for exit in [0, 1, 2, 3, 4, 5, 6, 7, 70, 130] {
        assert!(
            text.contains(&format!("\n| {exit} | ")),
            "docs/cli.md lacks exit code {exit}"
        );
    }
}

proptest! {
    #[test]
    fn the_program_gets_its_words_verbatim(
        program in "[a-zA-Z0-9._][ -~]{0,20}",
        arguments in proptest::collection::vec("[ -~]{0,12}", 0..6),
        dashes in any::<bool>(),
    ) {
        let mut line = words("submit /numnodes:4 --exclusive");
        if dashes {
            line.push("--".to_owned());
        }
        let mut command = vec![program];
        command.extend(arguments);
        line.extend(command.iter().cloned());
        match parse("job", &line) {
            Ok(Invocation::Do { words, .. }) => prop_assert_eq!(words, command),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_words_make_it_panic(line in proptest::collection::vec("[ -~äß]{0,9}", 0..6)) {
        // Any answer is right as long as there is one.
        let _ = parse("muster", &line);
        let _ = parse("job", &line);
    }
}
