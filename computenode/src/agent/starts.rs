//! Starts of tasks and proxies: each waits for the account of its owner, and is then prepared and ordered.
//!
//! Accounts are asked for once for all that wait for the same owner, off this thread: a name server may take its time.

use std::sync::Arc;

use anyhow::bail;
use proto::model::owner::Owner;

use super::{Agent, MAX_WAITING_FOR_ACCOUNTS, MAX_WAITING_PROXIES, Purpose, Wake};
use crate::account::{Account, AccountError, look_up_later};
use crate::commands;
use crate::kept::Kept;
use crate::launch::ProxyWanted;
use crate::spawner::clock::wall_clock;
use crate::spawner::message::ToSpawner;
use crate::workdir::{ProxyStart, coordination_order, make_folder, proxy_order, root_order};

impl Agent {
    pub(super) fn with_account(&mut self, purpose: Purpose) {
        let owner = match &purpose {
            Purpose::Start(kept) | Purpose::Coordinate(kept) | Purpose::Prepare(kept) => kept.order.owner.clone(),
            Purpose::Proxy(wanted) => match self.supervisor.alive(wanted.attempt) {
                Some(kept) => kept.order.owner.clone(),
                None => return self.fail(purpose, "its allocation is not held here any more"),
            },
        };
        if let Some(account) = self.accounts.recent(&owner) {
            return self.proceed(purpose, &account);
        }
        if self.waiting_for_accounts >= MAX_WAITING_FOR_ACCOUNTS {
            return self.fail(purpose, "too much waits for the accounts of this node");
        }
        self.waiting_for_accounts += 1;
        let key = (owner.name.clone(), owner.uid, owner.gid);
        let asked = self.for_accounts.contains_key(&key);
        self.for_accounts.entry(key).or_default().push(purpose);
        if !asked {
            let wakes = self.wakes.clone();
            tokio::spawn(async move {
                let found = look_up_later(owner.clone()).await;
                // Nobody waits when the agent is ending.
                let _ = wakes.send(Wake::Account { owner, found }).await;
            });
        }
    }

    pub(super) fn account_found(&mut self, owner: Owner, found: Result<Account, AccountError>) {
        let waiting = self
            .for_accounts
            .remove(&(owner.name.clone(), owner.uid, owner.gid))
            .unwrap_or_default();
        self.waiting_for_accounts -= waiting.len();
        match found {
            Ok(account) => {
                let account = Arc::new(account);
                self.accounts.remember(owner, &account);
                for purpose in waiting {
                    self.proceed(purpose, &account);
                }
            }
            Err(error) => {
                let reason = error.to_string();
                for purpose in waiting {
                    self.fail(purpose, &reason);
                }
            }
        }
    }

    pub(super) fn proceed(&mut self, purpose: Purpose, account: &Account) {
        let attempt = match &purpose {
            Purpose::Start(kept) | Purpose::Coordinate(kept) | Purpose::Prepare(kept) => kept.attempt(),
            Purpose::Proxy(wanted) => wanted.attempt,
        };
        let Some(kept) = self.supervisor.alive(attempt).cloned() else {
            return match purpose {
                // Stopped or released meanwhile: the spawner has been told, and answers that.
                Purpose::Start(_) | Purpose::Coordinate(_) | Purpose::Prepare(_) => {}
                Purpose::Proxy(_) => self.fail(purpose, "its allocation is not held here any more"),
            };
        };
        match purpose {
            Purpose::Start(_) | Purpose::Coordinate(_) => {
                let order_of = match &purpose {
                    Purpose::Coordinate(_) => coordination_order,
                    _ => root_order,
                };
                let new_privileges = self.config.tasks.new_privileges;
                match order_of(&self.directory, &self.facts, &kept, account, new_privileges) {
                    Ok(order) => self.to_spawner.push(order.into_message()),
                    Err(error) => self.fail(purpose, &error.to_string()),
                }
            }
            Purpose::Prepare(_) => {
                if let Err(error) = make_folder(&self.directory, &kept.order, account) {
                    self.fail(purpose, &error.to_string());
                }
            }
            Purpose::Proxy(wanted) => match self.proxy(&kept, account, &wanted) {
                Ok(order) => {
                    self.proxies.insert((wanted.attempt, wanted.launch), wanted.reply);
                    self.to_spawner.push(order);
                }
                Err(error) => self.fail(Purpose::Proxy(wanted), &format!("{error:#}")),
            },
        }
    }

    pub(super) fn proxy(&self, kept: &Kept, account: &Account, wanted: &ProxyWanted) -> anyhow::Result<ToSpawner> {
        if self.proxies.len() >= MAX_WAITING_PROXIES || self.proxies.contains_key(&(wanted.attempt, wanted.launch)) {
            bail!("a proxy of this launch is being started already");
        }
        let program = commands::proxy_program()?.to_string_lossy().into_owned();
        let start = ProxyStart {
            launch: wanted.launch,
            rendezvous: wanted.rendezvous,
            program,
        };
        let order = proxy_order(
            &self.directory,
            &self.facts,
            kept,
            account,
            &start,
            self.config.tasks.new_privileges,
        )?;
        Ok(order.into_message())
    }

    pub(super) fn proxy_wanted(&mut self, wanted: ProxyWanted) {
        self.with_account(Purpose::Proxy(wanted));
    }

    pub(super) fn fail(&mut self, purpose: Purpose, reason: &str) {
        match purpose {
            Purpose::Start(kept) | Purpose::Coordinate(kept) | Purpose::Prepare(kept) => {
                let commands = self.supervisor.not_started(kept.attempt(), reason, wall_clock());
                self.carry_out(commands);
            }
            Purpose::Proxy(wanted) => {
                // The asker may have gone.
                let _ = wanted.reply.send(Some(format!("node {}: {reason}", self.facts.name)));
            }
        }
    }
}
