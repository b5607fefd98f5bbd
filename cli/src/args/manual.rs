//! Pages of the manual in roff, written from the table: what `--help` says, for `man`.

use super::table::{GLOBAL, Noun, OptionSpec, Status, Value, Verb, options, verbs};

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page(Of);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Noun(Noun),
    Verb(Verb),
}

impl Page {
    /// `muster`
    pub const PROGRAM: Self = Self(Of::Noun(Noun::Cluster));

    /// All pages.
    pub fn all() -> impl Iterator<Item = Self> {
        let nouns = [Noun::Cluster].into_iter().chain(Noun::KINDS).map(Of::Noun);
        nouns.chain(Verb::LINKED.into_iter().map(Of::Verb)).map(Self)
    }

    /// The page with that name: `job`, `muster-user`, `user`.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let plain = word.strip_prefix("muster-").unwrap_or(&word);
        Self::all().find(|page| page.name() == word || page.word() == plain)
    }

    /// All names, for people.
    #[must_use]
    pub fn names() -> String {
        Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// The file's name without its ending: pages whose word others may have too bear ours before it.
    #[must_use]
    pub fn name(self) -> String {
        match self.0 {
            Of::Noun(noun) => noun.typed().replace(' ', "-"),
            Of::Verb(verb) => verb.spec().name.to_owned(),
        }
    }

    fn word(self) -> &'static str {
        match self.0 {
            Of::Noun(noun) => noun.as_str(),
            Of::Verb(verb) => verb.spec().name,
        }
    }

    /// The page.
    #[must_use]
    pub fn text(self) -> String {
        let name = self.name();
        let about = match self.0 {
            Of::Noun(Noun::Cluster) => "a scheduler for HPC clusters",
            Of::Noun(noun) => noun.about(),
            Of::Verb(verb) => verb.spec().about,
        };
        let mut out = format!(
            ".TH {} 1 \"\" \"Muster {}\" \"Muster\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
            escaped(&name.to_uppercase()),
            env!("CARGO_PKG_VERSION"),
            escaped(&name),
            escaped(about)
        );
        let own = self.verbs();
        for verb in &own {
            out += &format!(".B {}\n.br\n", escaped(&verb.spec().usage()));
        }
        if self == Self::PROGRAM {
            out += ".SH KINDS\n";
            for noun in Noun::KINDS {
                item(&mut out, &noun.typed(), noun.about());
            }
        }
        out += ".SH COMMANDS\n";
        own.iter().for_each(|verb| command(&mut out, *verb));
        out += ".SH OPTIONS OF EVERY COMMAND\n";
        GLOBAL.iter().for_each(|spec| option(&mut out, spec));
        item(&mut out, "/?, --help", "what there is to know, at every level");
        out += ".SH NOTES\nBoth spellings work everywhere: HPC Pack's, ";
        out += "/numnodes:4, and \\-\\-num\\-nodes 4; names in any case.\n.SH SEE ALSO\n";
        let others: Vec<String> = Self::all().filter(|page| *page != self).map(Self::name).collect();
        let others: Vec<String> = others
            .iter()
            .map(|name| format!("\\fB{}\\fR(1)", escaped(name)))
            .collect();
        out + &others.join(", ") + "\n"
    }

    fn verbs(self) -> Vec<Verb> {
        match self.0 {
            Of::Verb(verb) => vec![verb],
            Of::Noun(noun) => {
                let own = verbs().filter(|spec| spec.noun == noun && !spec.verb.is_hidden());
                own.map(|spec| spec.verb)
                    .filter(|verb| !Verb::LINKED.contains(verb))
                    .collect()
            }
        }
    }
}

fn command(out: &mut String, verb: Verb) {
    let spec = verb.spec();
    *out += &format!(".SS {}\n{}\n", escaped(&spec.usage()), escaped(&sentence(spec.about)));
    for spec in options().filter(|spec| spec.on.contains(&verb) && spec.status != Status::NotYet) {
        option(out, spec);
    }
    if !spec.examples.is_empty() {
        *out += ".PP\nExamples:\n.PP\n.nf\n.RS\n";
        for example in spec.examples {
            *out += &format!("{}\n", escaped(example));
        }
        *out += ".RE\n.fi\n";
    }
}

fn option(out: &mut String, spec: &OptionSpec) {
    let short = spec.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let spelled = match spec.value {
        Value::Flag => format!("{short}{}, {}", spec.spelling(true), spec.spelling(false)),
        Value::Text(what) => format!("{short}{}, {}", spec.example(true, what), spec.example(false, what)),
    };
    item(out, &spelled, spec.help);
}

fn item(out: &mut String, title: &str, text: &str) {
    *out += &format!(".TP\n.B {}\n{}\n", escaped(title), escaped(&sentence(text)));
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// As roff reads it: a dash is a minus sign, a backslash is one, and no line begins with a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_name_and_every_command_a_page() {
        for page in Page::all() {
            assert_eq!(Page::named(&page.name()), Some(page));
            let text = page.text();
            assert!(
                text.starts_with(".TH ") && text.contains(".SH SYNOPSIS"),
                "{}",
                page.name()
            );
        }
        assert_eq!(Page::named("user").map(Page::name), Some("muster-user".to_owned()));
        assert_eq!(Page::named("nosuch"), None);
        let all: String = Page::all().map(Page::text).collect();
        for spec in verbs().filter(|spec| !spec.verb.is_hidden()) {
            assert!(
                all.contains(&format!(".SS {}", escaped(&spec.usage()))),
                "{}",
                spec.title()
            );
        }
    }

    #[test]
    fn groff_has_nothing_to_say() {
        for page in Page::all() {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("page.1");
            std::fs::write(&file, page.text()).expect("writes");
            let ran = std::process::Command::new("groff")
                .args(["-man", "-Tutf8", "-ww", "-z"])
                .arg(&file)
                .output();
            // Where groff is not installed nothing is checked.
            if let Ok(ran) = ran {
                let said = String::from_utf8_lossy(&ran.stderr);
                assert!(said.trim().is_empty(), "{}: {said}", page.name());
            }
        }
    }

    #[test]
    fn roff_is_told_from_text() {
        assert_eq!(escaped("--a\\b"), "\\-\\-a\\eb");
        assert_eq!(escaped(".x"), "\\&.x");
    }
}
