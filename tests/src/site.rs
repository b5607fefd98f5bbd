//! A cluster on hosts that are really apart, set up with the documented commands only.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::SOON;
use crate::hosts::{Host, Network, ROOT, User};
use crate::wait;

/// The head node's host.
pub const HEAD: &str = "head";

/// Hosts with a head node on the first.
#[derive(Debug)]
pub struct Site {
    network: Network,
}

impl Site {
    /// A network with one host, and a head node on it as `muster up` starts it.
    ///
    /// # Errors
    /// When namespaces cannot be made here, or what `muster up` said.
    pub fn start() -> anyhow::Result<Self> {
        let site = Self::bare()?;
        let address = site.head()?.address();
        site.head()?
            .types(ROOT, &format!("muster up --nodes 0 --listen {address}"))?;
        Ok(site)
    }

    /// The same with settings of the head node.
    ///
    /// # Errors
    /// As above.
    pub fn start_with(settings: &str) -> anyhow::Result<Self> {
        let site = Self::bare()?;
        let head = site.head()?;
        let line = format!(
            "mkdir -p /var/lib/muster/head && \
             printf '%s' '{settings}' > /run/headnode.toml && \
             setsid muster-headnode --dir /var/lib/muster/head --listen {}:8745 --config /run/headnode.toml \
             > /run/headnode.log 2>&1 < /dev/null &",
            head.address()
        );
        head.types(ROOT, &line)?;
        wait::until("the head node to be ready", SOON, || {
            Ok((head.run(ROOT, &["test", "-e", "/var/lib/muster/head/head.addr"])?.code == 0).then_some(()))
        })?;
        Ok(site)
    }

    fn bare() -> anyhow::Result<Self> {
        let mut network = Network::new()?;
        network.add(HEAD)?;
        Ok(Self { network })
    }

    /// The network, to add hosts and to pull plugs.
    pub const fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.network.host(name)
    }

    /// The head node's host.
    ///
    /// # Errors
    /// Never: it is the first that is made.
    pub fn head(&self) -> anyhow::Result<&Host> {
        self.host(HEAD)
    }

    /// The line that the head node gives to be pasted on hosts.
    ///
    /// # Errors
    /// When it is not one line.
    pub fn join_line(&self, options: &str) -> anyhow::Result<String> {
        let line = self
            .head()?
            .types(ROOT, &format!("muster node join-command {options} 2>/dev/null"))?;
        let line = line.trim_end();
        ensure!(!line.is_empty() && !line.contains('\n'), "not one line: {line:?}");
        Ok(line.to_owned())
    }

    /// Adds hosts, joins each with the line, and gives what the last of them said.
    ///
    /// # Errors
    /// When one of them is not let in.
    pub fn join(&mut self, names: &[&str]) -> anyhow::Result<String> {
        for name in names {
            self.network.add(name)?;
        }
        let line = self.join_line(&format!("--groups ComputeNodes,AzureNodes --uses {}", names.len()))?;
        let mut said = String::new();
        for name in names {
            said = self.host(name)?.types(ROOT, &line)?;
        }
        Ok(said)
    }

    /// Submits as a user on the head node's host; words as a shell reads them.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit(&self, host: &str, user: User, words: &str) -> anyhow::Result<u64> {
        let out = self.host(host)?.types(user, &format!("muster job submit {words}"))?;
        let number = out
            .trim()
            .strip_prefix("Job has been submitted. ID: ")
            .and_then(|text| text.strip_suffix('.'))
            .with_context(|| format!("'job submit {words}' said: {out}"))?;
        Ok(number.parse()?)
    }

    /// What a command says with `-o json`.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn json(&self, user: User, line: &str) -> anyhow::Result<Value> {
        let out = self.head()?.types(user, &format!("{line} -o json"))?;
        serde_json::from_str(&out).with_context(|| format!("'{line}' printed no JSON: {out}"))
    }
}
