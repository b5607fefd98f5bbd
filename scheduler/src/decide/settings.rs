//! Variables and parameters that an administrator sets for the whole cluster. A parameter of HPC Pack that nothing here
//! acts on is refused by name: it would be stored and ignored.

use proto::client::{Refusal, RefusalCode};
use proto::event::Event;
use proto::model::job::Env;
use proto::stored::{Parameters, SettingsRow};
use proto::units::Millis;

use super::check::check_env;
use super::ledger::Ledger;
use crate::input::Answer;
use crate::refusal::{invalid, unknown, wrong_state};
use crate::settings::{
    BACKFILL_LOOK_AHEAD, CANCEL_GRACE, MAX_CANCEL_GRACE, MAX_LOOK_AHEAD, MAX_RETRY_COUNT, RETRY_COUNT, SETTABLE, SHOWN,
    UNBUILT,
};

/// Begins the names of variables that are the cluster's own.
const RESERVED: &str = "MUSTER_";

/// The most parameters that one request sets.
const MAX_PARAMETERS: usize = 100;

pub(super) fn set(ledger: &mut Ledger<'_>, env: &Env, parameters: &[(String, String)]) -> Result<Answer, Refusal> {
    let old = ledger.cluster.settings_row();
    let mut settings = old.clone();
    set_env(&mut settings, env)?;
    if parameters.len() > MAX_PARAMETERS {
        return Err(invalid(
            format!(
                "{} parameters are set, and {MAX_PARAMETERS} are the most",
                parameters.len()
            ),
            "set fewer at a time",
        ));
    }
    for (name, value) in parameters {
        set_parameter(ledger, &mut settings.parameters, name, value.trim())?;
    }
    if settings == *old {
        return Ok(Answer::Notes(vec![
            "nothing changes: all of it is set so already".to_owned(),
        ]));
    }
    ledger.push(Event::SettingsChanged {
        settings: Box::new(settings),
    });
    Ok(Answer::Notes(Vec::new()))
}

fn set_env(settings: &mut SettingsRow, env: &Env) -> Result<(), Refusal> {
    check_env(env)?;
    for (name, value) in env {
        if name.to_ascii_uppercase().starts_with(RESERVED) {
            return Err(invalid(
                format!("the variable '{name}' is the cluster's own"),
                format!("use a name that does not begin with {RESERVED}"),
            ));
        }
        match value {
            Some(value) => drop(settings.env.insert(name.clone(), Some(value.clone()))),
            None => drop(settings.env.remove(name)),
        }
    }
    check_env(&settings.env)
}

fn set_parameter(ledger: &Ledger<'_>, parameters: &mut Parameters, name: &str, value: &str) -> Result<(), Refusal> {
    let named = |known: &&str| known.eq_ignore_ascii_case(name);
    if named(&CANCEL_GRACE) {
        parameters.cancel_grace = cancel_grace(ledger, CANCEL_GRACE, value)?;
        return Ok(());
    }
    if named(&RETRY_COUNT) {
        parameters.task_retry_count = number(RETRY_COUNT, value, MAX_RETRY_COUNT)?;
        return Ok(());
    }
    if named(&BACKFILL_LOOK_AHEAD) {
        parameters.backfill_look_ahead = number(BACKFILL_LOOK_AHEAD, value, MAX_LOOK_AHEAD)?;
        return Ok(());
    }
    if let Some(name) = SHOWN.iter().find(|known| named(known)) {
        return Err(wrong_state(
            format!("the parameter '{name}' is read when the head node starts"),
            "set it in the head node's configuration, and start it again",
        ));
    }
    if let Some(name) = UNBUILT.iter().find(|known| named(known)) {
        return Err(Refusal {
            code: RefusalCode::Unsupported,
            what: format!("the parameter '{name}' is not built yet"),
            remedy: format!("those that can be set are {}", SETTABLE.join(", ")),
            retry_after: None,
        });
    }
    let known = SETTABLE.iter().chain(SHOWN).copied();
    Err(unknown("parameter", name, known, "see 'cluscfg listparams'"))
}

/// A grace period that nodes can keep: whatever may be started elsewhere has to have ended by then.
fn cancel_grace(ledger: &Ledger<'_>, name: &str, value: &str) -> Result<Option<Millis>, Refusal> {
    let most = u32::try_from(MAX_CANCEL_GRACE.0 / 1000).unwrap_or(u32::MAX);
    let Some(seconds) = number(name, value, most)? else {
        return Ok(None);
    };
    let grace = Millis::from_seconds(u64::from(seconds));
    let mut settings = *ledger.cluster.settings();
    settings.timing.kill_grace = grace;
    match settings.check() {
        Ok(()) => Ok(Some(grace)),
        Err(_) => Err(invalid(
            format!(
                "{name} of {grace} and the lease of {} together with {} of drift are not shorter than the lost timeout of {}",
                settings.timing.lease, settings.drift, settings.lost_after
            ),
            format!(
                "use less, or make the lost timeout longer in the head node's configuration: until then a node may run a task \
                 that is started elsewhere; {} is in force",
                ledger.cluster.cancel_grace()
            ),
        )),
    }
}

/// A number, or none for the default.
fn number(name: &str, value: &str, most: u32) -> Result<Option<u32>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.parse() {
        Ok(number) if number <= most => Ok(Some(number)),
        _ => Err(invalid(
            format!("'{value}' is no value of {name}"),
            format!("give a whole number from 0 to {most}, or nothing for the default"),
        )),
    }
}
