//! What follows from the end of a task: `1,5-9=satisfy`, `error=block,job:none`, `default=job:disable`.

use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, ExitRule, JobAction, MAX_EXIT_RULES};

use super::{ValueError, exit_codes, word};

/// Takes in what one option says. Rules of single codes stand before those of ranges, which Azure Batch matches later.
pub(crate) fn exit_rule(text: &str, conditions: &mut ExitConditions) -> Result<(), ValueError> {
    let (codes, actions) = text.split_once('=').ok_or(ValueError::Exit)?;
    let options = options(actions)?;
    let once = |place: &mut Option<ExitOptions>, what| match place.replace(options) {
        None => Ok(()),
        Some(_) => Err(ValueError::ExitTwice { what }),
    };
    match codes.trim().to_ascii_lowercase().as_str() {
        "error" => return once(&mut conditions.pre_processing_error, "a failed start"),
        "default" => return once(&mut conditions.default, "every other end"),
        _ => {}
    }
    let codes = exit_codes(codes).map_err(|error| match error {
        ValueError::ExitCodes => ValueError::Exit,
        other => other,
    })?;
    conditions
        .codes
        .extend(codes.ranges().iter().map(|(first, last)| ExitRule {
            first: *first,
            last: *last,
            options,
        }));
    if conditions.codes.len() > MAX_EXIT_RULES {
        return Err(ValueError::ExitRules { most: MAX_EXIT_RULES });
    }
    // A stable order: what was said first is matched first among its like.
    conditions.codes.sort_by_key(|rule| rule.first != rule.last);
    Ok(())
}

fn options(text: &str) -> Result<ExitOptions, ValueError> {
    let mut options = ExitOptions::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once(':') {
            Some((of, action)) if of.eq_ignore_ascii_case("job") => {
                let action = match word(action, &["none", "disable", "terminate"])? {
                    "none" => JobAction::None,
                    "disable" => JobAction::Disable,
                    _ => JobAction::Terminate,
                };
                twice(options.job.replace(action).is_some(), "for the job")?;
            }
            Some(_) => return Err(ValueError::Exit),
            None => {
                let action = match part.to_ascii_lowercase().as_str() {
                    "satisfy" => DependencyAction::Satisfy,
                    "block" => DependencyAction::Block,
                    _ => return Err(ValueError::Exit),
                };
                twice(
                    options.dependency.replace(action).is_some(),
                    "for tasks that depend on it",
                )?;
            }
        }
    }
    if options == ExitOptions::default() {
        return Err(ValueError::Exit);
    }
    Ok(options)
}

const fn twice(was_said: bool, what: &'static str) -> Result<(), ValueError> {
    if was_said {
        Err(ValueError::ExitTwice { what })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rules: &[&str]) -> Result<ExitConditions, ValueError> {
        let mut conditions = ExitConditions::default();
        rules
            .iter()
            .try_for_each(|rule| exit_rule(rule, &mut conditions))
            .map(|()| conditions)
    }

    #[test]
    fn codes_words_and_what_follows() {
        let conditions = read(&[
            "5-9,1=satisfy",
            "2=block,job:disable",
            "error=job:none",
            "default=block",
        ])
        .expect("rules");
        let rules: Vec<(i32, i32)> = conditions.codes.iter().map(|rule| (rule.first, rule.last)).collect();
        assert_eq!(rules, [(1, 1), (2, 2), (5, 9)]);
        assert_eq!(conditions.codes[0].options.dependency, Some(DependencyAction::Satisfy));
        assert_eq!(
            conditions.codes[1].options,
            ExitOptions {
                dependency: Some(DependencyAction::Block),
                job: Some(JobAction::Disable)
            }
        );
        let error = conditions.pre_processing_error.expect("said");
        assert_eq!((error.dependency, error.job), (None, Some(JobAction::None)));
        assert_eq!(
            conditions.default.expect("said").dependency,
            Some(DependencyAction::Block)
        );
    }

    #[test]
    fn what_says_nothing_or_twice_is_refused() {
        for wrong in [
            "1",
            "1=",
            "=satisfy",
            "1=skip",
            "x=satisfy",
            "1=task:none",
            "1=job:stop",
        ] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
        assert_eq!(
            read(&["default=block", "default=satisfy"]).unwrap_err().to_string(),
            "it says twice what follows from every other end; say it once"
        );
        assert!(read(&["1=satisfy,block"]).is_err());
        let many: Vec<String> = (0..=MAX_EXIT_RULES).map(|code| format!("{code}=satisfy")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(read(&many), Err(ValueError::ExitRules { .. })));
    }
}
