//! `init`: a first config, as short as one that works can be.

use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, output};
use crate::config::{Config, Origin};

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// Where the application listens, such as http://127.0.0.1:3000. `demo` for the demonstration.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The site's name as browsers show it. https://localhost:8443 gets a development certificate;
    /// http://localhost:PORT is for development without TLS.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// PEM file of the certificate, for a name of your own.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Replaces a config that is there.
    #[arg(long)]
    force: bool,
}

/// Writes a config to `path`, after it was found to be one.
pub(super) fn init(path: &Path, arguments: InitArguments) -> Result<(), Failure> {
    let InitArguments { upstream, public_url, certificate, key, force } = arguments;
    if !force && path.exists() {
        let text = format!("{} exists; --force replaces it", path.display());
        return Err(Failure::Usage(text));
    }
    let upstream = or_ask(
        upstream,
        "--upstream",
        "Where does your application listen?",
        "http://127.0.0.1:3000",
    )?;
    let public_url = match public_url {
        None if !std::io::stdin().is_terminal() => LOCAL.to_owned(),
        given => {
            or_ask(given, "--public-url", "What is the site's URL, as browsers see it?", LOCAL)?
        }
    };
    let text = config(&upstream, &public_url, certificate.as_deref().zip(key.as_deref()))?;
    let checked = Config::parse(&text, path)?;
    write(path, &text, force)?;
    output::say(format_args!("{} is written", path.display()));
    for warning in &checked.warnings {
        output::note(format_args!("warning: {}", warning.in_file(path)));
    }
    output::note("next:\n  sallyport user add NAME\n  sallyport");
    Ok(())
}

const LOCAL: &str = "https://localhost:8443";

/// What the flag says, or what is answered to the question.
fn or_ask(
    given: Option<String>,
    flag: &str,
    question: &str,
    default: &str,
) -> Result<String, Failure> {
    const BYTES_MAX: u64 = 4096;
    if let Some(given) = given {
        return Ok(given);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("there is no terminal to ask at: pass {flag}")));
    }
    output::ask(format_args!("{question} [{default}] "));
    let mut answer = String::new();
    let failed = |source| Failure::Io { what: "the answer could not be read", source };
    std::io::Read::take(std::io::stdin().lock(), BYTES_MAX)
        .read_line(&mut answer)
        .map_err(failed)?;
    let answer = answer.trim();
    Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}

/// The text, of at most twelve lines.
fn config(
    upstream: &str,
    public_url: &str,
    tls: Option<(&Path, &Path)>,
) -> Result<String, Failure> {
    let origin = Origin::parse(public_url).ok_or_else(|| {
        Failure::Usage(format!("{public_url:?} is not an origin such as https://app.example.org"))
    })?;
    let local = matches!(origin.host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    let mut lines = vec!["[listen]".to_owned()];
    match (origin.https, local, tls) {
        (false, true, _) => lines.push(format!("dev_http = \"127.0.0.1:{}\"", origin.port)),
        (false, false, _) => {
            let text = "without TLS it is for development on this machine only: write https://";
            return Err(Failure::Usage(text.to_owned()));
        }
        (true, false, None) => {
            let text = "a name of your own needs a certificate: pass --certificate and --key";
            return Err(Failure::Usage(text.to_owned()));
        }
        (true, _, _) => lines.push(format!("https = \"0.0.0.0:{}\"", origin.port)),
    }
    lines.push(format!("public_url = {}", quoted(&origin.ascii())));
    if let (true, Some((certificate, key))) = (origin.https, tls) {
        lines.push("[tls]".to_owned());
        lines.push(format!("certificate = {}", quoted(&certificate.to_string_lossy())));
        lines.push(format!("key = {}", quoted(&key.to_string_lossy())));
    }
    lines.extend([
        "[[upstream]]".to_owned(),
        "name = \"app\"".to_owned(),
        format!("servers = [{}]", quoted(upstream)),
        "[[route]]".to_owned(),
        "path = \"/**\"  # everything needs a login; access = \"public\" opens a path".to_owned(),
    ]);
    Ok(lines.join("\n") + "\n")
}

/// As a string of TOML, which takes those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: "the config could not be written", source };
    let mut options = OpenOptions::new();
    // Without --force nothing is replaced, not even what has come since we looked.
    options.write(true).create(true).truncate(force).create_new(!force);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        assert!(text.lines().count() <= 12, "{text}");
        Config::parse(text, Path::new("gateway.toml")).unwrap()
    }

    #[test]
    fn each_way_gives_a_config_of_at_most_twelve_lines_that_works() {
        let pem = Path::new("certs/a \"quoted\" name.pem");
        let app = "http://127.0.0.1:3000";
        for (upstream, url, tls) in [
            (app, "https://localhost:8443", None),
            ("demo", "https://localhost", None),
            (app, "http://localhost:9154", None),
            (app, "https://app.example.org", Some((pem, pem))),
            (app, "https://app.example.org:8443", Some((pem, pem))),
        ] {
            let config = parsed(&config(upstream, url, tls).unwrap());
            assert_eq!(config.listen.public_url.ascii(), url);
            // Without TLS it says so.
            let warned: Vec<_> = config.warnings.iter().map(|one| one.key.as_str()).collect();
            let expected: &[&str] =
                if url.starts_with("https") { &[] } else { &["listen.dev_http"] };
            assert_eq!(warned, expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        let app = "http://127.0.0.1:3000";
        for (url, words) in [
            ("app.example.org", "is not an origin"),
            ("https://app.example.org/path", "is not an origin"),
            ("http://app.example.org", "write https://"),
            ("https://app.example.org", "--certificate"),
        ] {
            let error = config(app, url, None).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
        // Whatever is typed stands in its place, or is told to be wrong there.
        let text = config("x\"]\n[listen]\n", "https://localhost:8443", None).unwrap();
        assert!(Config::parse(&text, Path::new("gateway.toml")).is_err());
    }
}
