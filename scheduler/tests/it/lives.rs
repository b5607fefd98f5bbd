//! The lives of nodes in random stories: drained, told to start anew, given another start task, to leave their pool. And
//! what the checker sees of it: a node that is switched off, or has not run its start task, gets no slots of it granted.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proto::event::Event;
use proto::ids::{NodeId, NodeName, PoolName};
use proto::model::job::SetTo;
use proto::model::node::{AdminState, Deallocation, NodeStart, StartState};
use proto::model::pool::PoolChange;
use proto::model::role::StartTaskSpec;
use proto::model::task::TaskSpec;
use proto::units::Millis;
use scheduler::Input;

use crate::world::root;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Life {
    Drain {
        node: usize,
        option: Deallocation,
    },
    Restart {
        node: usize,
        reimage: bool,
        option: Deallocation,
    },
    StartTask {
        number: u32,
        wait: bool,
    },
    NoStartTask,
    Resize {
        wanted: u32,
        option: Deallocation,
    },
    StopResize,
}

pub(crate) fn life(nodes: usize) -> impl Strategy<Value = Life> {
    let node = 0..nodes;
    let option = prop_oneof![
        Just(Deallocation::Requeue),
        Just(Deallocation::Terminate),
        Just(Deallocation::TaskCompletion),
        Just(Deallocation::RetainedData),
    ];
    let wanted = 0..=u32::try_from(nodes).expect("few");
    prop_oneof![
        2 => (node.clone(), option.clone()).prop_map(|(node, option)| Life::Drain { node, option }),
        3 => (node, any::<bool>(), option.clone())
            .prop_map(|(node, reimage, option)| Life::Restart { node, reimage, option }),
        2 => (0..3u32, any::<bool>()).prop_map(|(number, wait)| Life::StartTask { number, wait }),
        1 => Just(Life::NoStartTask),
        2 => (wanted, option).prop_map(|(wanted, option)| Life::Resize { wanted, option }),
        1 => Just(Life::StopResize),
    ]
}

impl Life {
    /// As an administrator asks for it; `name` is that of a node of the story.
    pub(crate) fn input(self, name: impl Fn(usize) -> NodeName) -> Input {
        let caller = root();
        let pool = PoolName::new("p").expect("a pool name");
        let start = |start_task| {
            Box::new(PoolChange {
                start_task: Some(start_task),
                ..PoolChange::default()
            })
        };
        match self {
            Self::Drain { node, option } => Input::SwitchNodes {
                caller,
                nodes: vec![name(node)],
                admin: AdminState::Offline,
                option,
            },
            Self::Restart { node, reimage, option } => Input::RestartNodes {
                caller,
                nodes: vec![name(node)],
                option,
                reimage,
            },
            Self::StartTask { number, wait } => Input::SetPool {
                caller,
                name: pool,
                change: start(SetTo::Value(Box::new(StartTaskSpec {
                    task: TaskSpec::of_command(vec![format!("prepare{number}")]),
                    wait_for_success: wait,
                }))),
            },
            Self::NoStartTask => Input::SetPool {
                caller,
                name: pool,
                change: start(SetTo::Nothing),
            },
            Self::Resize { wanted, option } => Input::ResizePool {
                caller,
                name: pool,
                wanted: Some(wanted),
                option,
                timeout: Some(Millis::from_seconds(40)),
            },
            Self::StopResize => Input::ResizePool {
                caller,
                name: pool,
                wanted: None,
                option: Deallocation::default(),
                timeout: None,
            },
        }
    }
}

/// Nodes that get no slots granted, as events tell.
#[derive(Default)]
pub(crate) struct Closed {
    off: BTreeSet<NodeId>,
    unprepared: BTreeSet<NodeId>,
    leaving: BTreeSet<NodeId>,
}

impl Closed {
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::NodeSwitched { node, admin, .. } => put(&mut self.off, *node, *admin != AdminState::Online),
            Event::NodeStartChanged { node, start } => {
                let keeps = |start: &NodeStart| start.wait_for_success && start.state != StartState::Done;
                put(&mut self.unprepared, *node, start.as_ref().is_some_and(keeps));
            }
            Event::NodeErrandChanged { node, errand, .. } => put(&mut self.leaving, *node, errand.is_some()),
            Event::Granted { task, shares, .. } => {
                for share in shares.iter().filter(|share| share.slots > 0) {
                    let node = share.node;
                    assert!(
                        !self.off.contains(&node),
                        "task {task} starts on node {node}, which is off"
                    );
                    assert!(
                        !self.leaving.contains(&node),
                        "task {task} starts on node {node}, which is to go"
                    );
                    let prepared = !self.unprepared.contains(&node);
                    assert!(prepared, "task {task} starts on node {node} without its start task");
                }
            }
            _ => {}
        }
    }
}

fn put(set: &mut BTreeSet<NodeId>, node: NodeId, inside: bool) {
    if inside {
        set.insert(node);
    } else {
        set.remove(&node);
    }
}
