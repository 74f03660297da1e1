//! `log.level`: what a filter of the diagnostic log may say.

use std::iter;

use tracing_subscriber::filter::{Directive, EnvFilter, LevelFilter};

/// h2 warns of each frame that a client should not have sent: as many lines as a stranger likes. What ends
/// a connection is told by us.
const H2: &str = "h2=off";

/// The operator wrote a filter that means nothing, or not what it seems to mean.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{directive:?} is not a filter: {reason}")]
pub struct BadFilter {
    /// The part of the filter that is wrong.
    pub directive: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads `tracing` directives parted by commas: a level (`error`, `warn`, `info`, `debug`, `trace`,
/// `off`), or `target=level`. One by one, so that the operator is told which of them is wrong.
pub fn log_filter(level: &str) -> Result<EnvFilter, BadFilter> {
    let refuse = |directive: &str, reason: String| {
        Err(BadFilter { directive: directive.to_owned(), reason })
    };
    // Said first, so that any of the operator's own levels replaces it.
    let mut filter = EnvFilter::default().add_directive(LevelFilter::ERROR.into());
    for directive in iter::once(H2).chain(split(level)) {
        // The library reads a lone word that is no level as the name of a target, so that `inof`
        // would silence the whole log.
        let lone = !directive.contains(['=', '[']);
        if lone && directive.parse::<LevelFilter>().is_err() {
            return refuse(directive, "it is not a level".to_owned());
        }
        match directive.parse::<Directive>() {
            Ok(parsed) => filter = filter.add_directive(parsed),
            Err(error) => return refuse(directive, error.to_string()),
        }
    }
    Ok(filter)
}

/// Splits at the commas that part directives, not at those inside `[span{a=1,b=2}]`.
fn split(level: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = level.split(|character| {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused_by_the_part_that_is_wrong() {
        for (level, wrong) in [
            ("inof", "inof"),
            ("", ""),
            (" , ", ""),
            ("info,sallyport=loud", "sallyport=loud"),
            ("info,,debug", ""),
            ("info debug", "info debug"),
            ("warn,[span{=", "[span{="),
        ] {
            assert_eq!(log_filter(level).unwrap_err().directive, wrong, "{level:?}");
        }
        assert_eq!(
            log_filter("inof").unwrap_err().to_string(),
            r#""inof" is not a filter: it is not a level"#
        );
    }

    #[test]
    fn what_h2_says_of_its_clients_is_told_to_who_asks_for_it() {
        let told = |level: &str| log_filter(level).unwrap().to_string();
        assert!(told("info").contains("h2=off"), "{}", told("info"));
        let asked = told("info,h2=debug");
        assert!(asked.contains("h2=debug") && !asked.contains("h2=off"), "{asked}");
    }

    #[test]
    fn levels_targets_and_spans_make_a_filter() {
        for level in ["info", "OFF", "warn, sallyport::listen=debug", "info,[a{b=1,c=2}]=debug"] {
            assert!(log_filter(level).is_ok(), "{level}");
        }
        assert_eq!(
            split("info,[a{b=1,c=2}]=debug , d=trace"),
            ["info", "[a{b=1,c=2}]=debug", "d=trace"]
        );
    }
}
