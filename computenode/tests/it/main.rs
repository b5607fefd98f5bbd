//! Process tests of the compute node: real spawners, agents and tasks in temporary folders.

mod agent;
mod coordination;
mod errands;
mod head;
mod join;
mod launch;
mod membership;
mod node;
mod output;
mod spawner;
mod users;
mod wait;
