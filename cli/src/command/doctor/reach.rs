//! Whether the nodes reach each other, as they find when the head node has them try.

use std::collections::BTreeMap;

use proto::client::{ProbedNode, Reply, Request};
use proto::ids::NodeName;
use proto::model::owner::Role;

use super::few;
use crate::answer::Check;
use crate::client::Client;

/// Has all nodes that answer try each other.
pub(super) async fn probe(client: &mut Client, checks: &mut Vec<Check>) {
    let what = "node to node";
    if client.welcome().role < Role::Operator {
        checks.push(Check::warn(
            what,
            "only operators may have nodes try",
            "ask an operator",
        ));
        return;
    }
    match client.request(Request::Probe { nodes: Vec::new() }).await {
        Ok(Reply::Probed { nodes }) => checks.push(reach(&nodes)),
        Ok(_) => checks.push(Check::fail(what, "the head node answers with something else", "")),
        Err(error) => checks.push(Check::fail(what, error.to_string(), "see the head node's log")),
    }
}

fn reach(nodes: &[ProbedNode]) -> Check {
    let what = "node to node";
    let mut broken = Vec::new();
    // Of one node that nobody reaches the reason is one; it is said once.
    let mut closed: BTreeMap<(&NodeName, &str), Vec<&NodeName>> = BTreeMap::new();
    let (mut pairs, mut slowest_us) = (0_u64, 0_u64);
    for node in nodes {
        if let Some(why) = &node.unasked {
            broken.push(format!("{} could not be asked ({why})", node.node));
        }
        for (peer, outcome) in &node.reached {
            pairs += 1;
            match outcome {
                Ok(micros) => slowest_us = slowest_us.max(*micros),
                Err(why) => closed.entry((peer, gist(why))).or_default().push(&node.node),
            }
        }
    }
    broken.extend(closed.into_iter().map(|((peer, why), from)| {
        let (verb, from) = (if from.len() == 1 { "does" } else { "do" }, joined(&from));
        format!("{from} {verb} not reach {peer} ({why})")
    }));
    if broken.is_empty() {
        return Check::ok(what, format!("{pairs} ways, the slowest answer after {slowest_us} us"));
    }
    Check::fail(
        what,
        few(&broken),
        "look at the nodes that nobody reaches, and open the nodes' ports to each other: 'hpcfwutil show' says which",
    )
}

/// A reason without its advice, which the check itself gives.
fn gist(why: &str) -> &str {
    why.split(": check that").next().unwrap_or(why)
}

fn joined(names: &[&NodeName]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    few(&names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Verdict;

    #[test]
    fn ways_that_are_closed_are_named() {
        let name = |text| NodeName::new(text).expect("a name");
        let mut nodes = vec![ProbedNode {
            node: name("n1"),
            reached: vec![(name("n2"), Ok(300))],
            unasked: None,
        }];
        assert_eq!(reach(&nodes).verdict, Verdict::Ok);
        let silent = "no answer within 2s: check that Muster runs there";
        nodes[0].reached.push((name("n3"), Err(silent.to_owned())));
        let check = reach(&nodes);
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.found, "n1 does not reach n3 (no answer within 2s)");
        nodes.push(ProbedNode {
            node: name("n2"),
            ..nodes[0].clone()
        });
        assert_eq!(reach(&nodes).found, "n1, n2 do not reach n3 (no answer within 2s)");
    }
}
