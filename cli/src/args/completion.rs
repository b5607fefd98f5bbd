//! What could stand for the last word of a command line, by the same table as everything else; and the scripts that have
//! shells ask for it. Ids and names are the head node's to tell: here it is only said which kind is wanted.

use super::table::{GLOBAL, Noun, OptionSpec, Status, Tail, Value, Verb, options, verbs};
use crate::request::CompletionShell;

/// What could stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Words with what they mean.
    pub(crate) words: Vec<(String, String)>,
    /// What else the head node knows.
    pub(crate) source: Option<Source>,
    /// Stands before each of those: `--nodes=n1,`.
    pub(crate) before: String,
    /// What of one is typed already.
    pub(crate) begun: String,
}

/// What the head node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Jobs,
    Tasks,
    Nodes,
    Groups,
    Pools,
    Users,
    Schedules,
}

/// Where the words before lead.
struct Place {
    verb: Option<Verb>,
    noun: Option<Noun>,
    /// Words of the command that are no options.
    given: usize,
    /// The option whose value is due.
    due: Option<&'static OptionSpec>,
    /// Whether a program has begun, whose words are its own.
    in_program: bool,
}

/// By all words of the line, the program first and the one that is being typed last.
pub(crate) fn complete(line: &[String]) -> Completion {
    let Some(((program, before), current)) = line
        .split_last()
        .and_then(|(last, rest)| Some((rest.split_first()?, last)))
    else {
        return Completion::default();
    };
    let place = walk(program, before);
    if place.in_program {
        return Completion::default();
    }
    if let Some(option) = place.due {
        return value(option, "", current);
    }
    if let Some((spelled, typed)) = option_value(current) {
        let option = specs(place.verb).find(|spec| spec.answers_to(spelled.trim_start_matches(['-', '/'])));
        let mark = &current[..current.len() - typed.len()];
        return option.map(|option| value(option, mark, typed)).unwrap_or_default();
    }
    let slash = current.starts_with('/');
    if slash || current.starts_with('-') {
        return names(place.verb, slash, current);
    }
    match place.verb {
        Some(verb) => positional(verb, place.given, current),
        None => commands(place.noun, current),
    }
}

fn walk(program: &str, words: &[String]) -> Place {
    let name = program.rsplit('/').next().unwrap_or(program);
    let mut place = Place {
        verb: Verb::linked(name),
        noun: Noun::linked(name),
        given: 0,
        due: None,
        in_program: false,
    };
    for word in words {
        if place.due.take().is_some() {
            continue;
        }
        if word == "--" {
            place.in_program = place.verb.is_some_and(|verb| verb.spec().tail == Tail::Command);
            continue;
        }
        let is_slash = super::slashes::option_of(word).is_some();
        if is_slash || (word.starts_with('-') && word.len() > 1) {
            let name = word.trim_start_matches('-');
            let spec = specs(place.verb).find(|spec| spec.answers_to(name) || spec.short == Some(name));
            place.due = spec.filter(|spec| !is_slash && !word.contains('=') && spec.value != Value::Flag);
            continue;
        }
        match place.verb {
            Some(verb) => {
                place.given += 1;
                place.in_program = verb.spec().tail == Tail::Command;
            }
            None => match place.noun {
                Some(noun) => place.verb = Verb::named(noun, word),
                None => {
                    place.noun = Noun::named(word);
                    place.verb = Verb::named(Noun::Cluster, word);
                }
            },
        }
    }
    place
}

fn specs(verb: Option<Verb>) -> impl Iterator<Item = &'static OptionSpec> {
    let own = options().filter(move |spec| verb.is_some_and(|verb| spec.on.contains(&verb)));
    GLOBAL.iter().chain(own).filter(|spec| spec.status != Status::NotYet)
}

/// `--name=typed`, `/name:typed`.
fn option_value(word: &str) -> Option<(&str, &str)> {
    match super::slashes::option_of(word) {
        Some(slash) => Some((slash.name, slash.value?)),
        None => word.strip_prefix("--").and_then(|rest| rest.split_once('=')),
    }
}

fn names(verb: Option<Verb>, slash: bool, typed: &str) -> Completion {
    let mark = |spec: &OptionSpec| {
        let name = spec.spelling(slash);
        match (spec.value, slash) {
            (Value::Flag, _) => name,
            (Value::Text(_), true) => name + ":",
            (Value::Text(_), false) => name + "=",
        }
    };
    Completion::of(specs(verb).map(|spec| (mark(spec), spec.help.to_owned())), typed)
}

fn commands(noun: Option<Noun>, typed: &str) -> Completion {
    let of = |noun: Noun| {
        let own = verbs().filter(move |spec| spec.noun == noun && !spec.verb.is_hidden());
        own.map(|spec| (spec.name.to_owned(), spec.about.to_owned()))
    };
    match noun {
        Some(noun) => Completion::of(of(noun), typed),
        None => {
            let kinds = Noun::KINDS
                .iter()
                .map(|noun| (noun.as_str().to_owned(), noun.about().to_owned()));
            Completion::of(kinds.chain(of(Noun::Cluster)), typed)
        }
    }
}

/// By the table's own words for what a command takes.
fn positional(verb: Verb, given: usize, typed: &str) -> Completion {
    let takes = verb.spec().words;
    let all: Vec<&str> = takes.split(' ').map(|word| word.trim_matches(['[', ']'])).collect();
    let Some(wanted) = all
        .get(given)
        .or_else(|| all.last().filter(|last| last.ends_with("...")))
    else {
        return Completion::default();
    };
    let wanted = match wanted.trim_end_matches("...") {
        // Several forms of naming tasks or jobs.
        several if several.contains("TASK") => "TASK",
        several if several.contains("JOB") => "JOB",
        other => other,
    };
    if wanted == "SCHEDULE" {
        return Completion::asked(Source::Schedules, "", typed);
    }
    if wanted == "NAME" && verb.spec().noun == Noun::User {
        return Completion::asked(Source::Users, "", typed);
    }
    if wanted == "PAGE" {
        return Completion::of(super::Page::all().map(|page| (page.name(), String::new())), typed);
    }
    by_word(wanted, "", typed)
}

fn value(option: &OptionSpec, before: &str, typed: &str) -> Completion {
    match option.value {
        Value::Text(what) => by_word(what, before, typed),
        Value::Flag => by_word("true|false", before, typed),
    }
}

/// What the words of the table mean: `JOB`, `N1,N2`, `list|table`.
fn by_word(what: &str, before: &str, typed: &str) -> Completion {
    if what.contains('|') && what.bytes().all(|b| b.is_ascii_lowercase() || b == b'|') {
        let words = what.split('|').map(|word| (format!("{before}{word}"), String::new()));
        return Completion::of(words, &format!("{before}{typed}"));
    }
    if what == "OPTION" {
        return by_word("requeue|terminate|taskcompletion|retaineddata", before, typed);
    }
    if what == "ROLE" {
        return by_word("user|operator|administrator", before, typed);
    }
    let source = match what {
        "JOB" => Source::Jobs,
        "JOB.TASK" | "TASK" => Source::Tasks,
        "NODE" | "N1,N2" => Source::Nodes,
        "GROUP" | "G1,G2" => Source::Groups,
        "POOL" => Source::Pools,
        _ => return Completion::default(),
    };
    // Of a list only the last name is being typed.
    let at = if what.contains(',') {
        typed.rfind(',').map_or(0, |at| at + 1)
    } else {
        0
    };
    Completion::asked(source, &format!("{before}{}", &typed[..at]), &typed[at..])
}

impl Completion {
    fn of(words: impl Iterator<Item = (String, String)>, typed: &str) -> Self {
        let begins = |(word, _): &(String, String)| {
            word.get(..typed.len())
                .is_some_and(|begun| begun.eq_ignore_ascii_case(typed))
        };
        Self {
            words: words.filter(begins).collect(),
            ..Self::default()
        }
    }

    fn asked(source: Source, before: &str, begun: &str) -> Self {
        Self {
            source: Some(source),
            before: before.to_owned(),
            begun: begun.to_owned(),
            ..Self::default()
        }
    }
}

/// All names that this program is called by.
fn programs() -> String {
    let nouns = Noun::LINKED.iter().map(|noun| noun.as_str());
    let verbs = Verb::LINKED.iter().map(|verb| verb.spec().name);
    ["muster"]
        .into_iter()
        .chain(nouns)
        .chain(verbs)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The lines for a shell; `program` is how this program is typed there.
pub(crate) fn script(shell: CompletionShell, program: &str) -> String {
    let template = match shell {
        CompletionShell::Bash => BASH,
        CompletionShell::Zsh => ZSH,
        CompletionShell::Fish => FISH,
    };
    let quoted = format!("'{}'", program.replace('\'', r"'\''"));
    template.replace("@MUSTER@", &quoted).replace("@PROGRAMS@", &programs())
}

/// bash breaks words at `:` and `=` and replaces only what stands after the last one.
const BASH: &str = r#"_muster() {
    local line=${COMP_LINE:0:COMP_POINT} current mark reply
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    mark=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r reply; do
        reply=${reply%%$'\t'*}
        COMPREPLY+=("${reply#"$mark"}")
    done < <(@MUSTER@ __complete -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=,.] ]]; then
        compopt -o nospace
    fi
}
complete -o bashdefault -o default -F _muster @PROGRAMS@
"#;

const ZSH: &str = r#"#compdef @PROGRAMS@
_muster() {
    local line value
    local -a values shown
    for line in "${(@f)$(@MUSTER@ __complete -- "${(@)words[1,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        values+=("$value")
        shown+=("$value -- ${line#*$'\t'}")
    done
    if (( ${#values} )); then
        compadd -Q -S '' -l -d shown -a values
    else
        _files
    fi
}
if [[ $funcstack[1] == _muster ]]; then
    _muster "$@"
else
    compdef _muster @PROGRAMS@
fi
"#;

const FISH: &str = r"function __muster_complete
    set -l found (@MUSTER@ __complete -- (commandline -opc) (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
for program in @PROGRAMS@
    complete -c $program -f -a '(__muster_complete)'
end
";

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> Completion {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.retain({
            let mut at = 0;
            let last = line.split(' ').count();
            move |word| {
                at += 1;
                !word.is_empty() || at == last
            }
        });
        complete(&words)
    }

    fn words(line: &str) -> Vec<String> {
        completed(line).words.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn commands_and_options_come_from_the_table() {
        assert!(words("muster us").contains(&"user".to_owned()));
        assert!(words("muster ").contains(&"job".to_owned()) && words("muster ").contains(&"doctor".to_owned()));
        assert!(
            !words("muster __").contains(&"__complete".to_owned()),
            "for shells only"
        );
        assert_eq!(words("muster node join"), ["join-command"]);
        assert_eq!(words("/usr/bin/node onl"), ["online"]);
        assert_eq!(words("node drain --req"), ["--requeue"]);
        assert!(
            words("clusrun /out")
                .iter()
                .any(|word| word == "/output:" || word == "/outputdir:")
        );
        assert_eq!(words("muster completions z"), ["zsh"]);
        assert_eq!(words("muster user add a --role op"), ["operator"]);
        assert_eq!(words("muster user add a --role=op"), ["--role=operator"]);
    }

    #[test]
    fn ids_and_names_are_asked_for_where_they_stand() {
        let source = |line| completed(line).source;
        assert_eq!(source("job view 1"), Some(Source::Jobs));
        assert_eq!(source("muster task view "), Some(Source::Tasks));
        assert_eq!(source("node online a "), Some(Source::Nodes));
        assert_eq!(source("nodegroup add "), Some(Source::Groups));
        assert_eq!(source("nodegroup add g "), Some(Source::Nodes));
        assert_eq!(source("muster user remove "), Some(Source::Users));
        assert_eq!(source("clusrun hostname "), None, "the program's own words");
        let list = completed("clusrun /nodes:n1,n");
        assert_eq!((list.before.as_str(), list.begun.as_str()), ("/nodes:n1,", "n"));
        assert_eq!(complete(&[]), Completion::default());
    }

    #[test]
    fn scripts_are_good_shell_where_the_shell_is_there() {
        for (shell, program, flag) in [
            (CompletionShell::Bash, "bash", "-n"),
            (CompletionShell::Zsh, "zsh", "-n"),
            (CompletionShell::Fish, "fish", "--no-execute"),
        ] {
            let text = script(shell, "/o p/it's/muster");
            assert!(text.contains("clusrun") && !text.contains('@'.to_string().repeat(2).as_str()));
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("script");
            std::fs::write(&file, &text).expect("writes");
            // A shell that is not on this machine checks nothing.
            if let Ok(ran) = std::process::Command::new(program).arg(flag).arg(&file).output() {
                assert!(
                    ran.status.success(),
                    "{program}: {}",
                    String::from_utf8_lossy(&ran.stderr)
                );
            }
        }
    }
}
