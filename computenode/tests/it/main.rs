//! Process tests of the compute node: real spawners, agents and tasks in temporary folders.

mod agent;
mod head;
mod launch;
mod node;
mod spawner;
mod wait;
