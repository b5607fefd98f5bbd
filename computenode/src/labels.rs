//! What an administrator says of a node: countable things besides cores and memory, words, and what is near it.
//!
//! Flags and settings file name them alike; the head node is told, and places tasks by them. Nothing on the node is
//! changed by them: which of its GPUs a task uses is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{DomainName, GroupName, ResourceName};

/// What a node has besides cores and memory, and how it is described. What is given replaces the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct LabelFlags {
    /// Something countable that tasks may ask for, for example gpu=2; may be repeated.
    #[arg(long = "resource", value_name = "NAME=COUNT", value_parser = resource)]
    pub resources: Vec<(ResourceName, u32)>,
    /// A word that describes this node; jobs ask for it as for a group; may be repeated.
    #[arg(long = "tag", value_name = "WORD")]
    pub tags: Vec<GroupName>,
    /// Which nodes are near this one, for example the name of its rack.
    #[arg(long, value_name = "NAME")]
    pub domain: Option<DomainName>,
}

impl LabelFlags {
    /// Over what the file says.
    pub(crate) fn over(self, file: Labels) -> Labels {
        Labels {
            resources: if self.resources.is_empty() {
                file.resources
            } else {
                self.resources.into_iter().collect()
            },
            tags: if self.tags.is_empty() {
                file.tags
            } else {
                self.tags.into_iter().collect()
            },
            domain: self.domain.or(file.domain),
        }
    }
}

/// The same, checked, as the head node is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// How many of each.
    pub resources: BTreeMap<ResourceName, u32>,
    /// Words.
    pub tags: BTreeSet<GroupName>,
    /// Which nodes are near.
    pub domain: Option<DomainName>,
}

fn resource(text: &str) -> Result<(ResourceName, u32), String> {
    let wrong = || "write NAME=COUNT, for example gpu=2".to_owned();
    let (name, count) = text.split_once('=').ok_or_else(wrong)?;
    let name = ResourceName::new(name).map_err(|error| error.to_string())?;
    Ok((name, count.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_resource_is_refused_with_an_example() {
        let gpu = ResourceName::new("gpu").expect("a name");
        assert_eq!(resource("gpu=2"), Ok((gpu, 2)));
        for text in ["gpu", "gpu=", "gpu=x", "gpu=-1"] {
            assert_eq!(
                resource(text),
                Err("write NAME=COUNT, for example gpu=2".to_owned()),
                "{text}"
            );
        }
        assert!(resource("=1").is_err() && resource("a b=1").is_err());
    }

    #[test]
    fn what_is_given_replaces_what_the_file_says_of_the_same() {
        let word = |text: &str| GroupName::new(text).expect("a name");
        let file = Labels {
            tags: [word("ssd")].into(),
            domain: DomainName::new("rack1").ok(),
            ..Labels::default()
        };
        assert_eq!(LabelFlags::default().over(file.clone()), file);
        let flags = LabelFlags {
            tags: vec![word("hdd")],
            ..LabelFlags::default()
        };
        let over = flags.over(file.clone());
        assert_eq!((over.tags, over.domain), ([word("hdd")].into(), file.domain));
    }
}
