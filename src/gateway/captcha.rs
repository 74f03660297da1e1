//! The captcha's parts put together: the service or its stand-in, the way there, the widget.

use std::io;
use std::sync::Arc;

use super::StartError;
use crate::captcha::stand_in::{SCRIPT_PATH, StandIn, VERIFY_PATH};
use crate::captcha::{Asking, Captcha, Cause};
use crate::clock::Clock;
use crate::config::{self, Config, Origin, Verifier};
use crate::endpoints::pages;
use crate::upstream::Service;

/// Most bytes of a service's answer; the real ones have a few hundred.
const ANSWER_BYTES: usize = 64 * 1024;

/// What the rest of the gateway gets.
#[derive(Default)]
pub(super) struct Check {
    /// For the rules of signing in.
    pub(super) captcha: Option<Arc<Captcha>>,
    /// For the pages.
    pub(super) widget: Option<pages::Captcha>,
    /// To be run, if there is one.
    pub(super) stand_in: Option<StandIn>,
}

impl Check {
    /// Binds the stand-in if the config wants it, and makes the way to the service.
    pub(super) async fn new(config: &Config, clock: &Clock) -> Result<Self, StartError> {
        let Some(settings) = &config.captcha else { return Ok(Self::default()) };
        let (origin, path, stand_in) = match &settings.verifier {
            Verifier::Service { origin, path } => (origin.clone(), path.as_str(), None),
            Verifier::StandIn(address) => {
                let wrong = |source| StartError::StandIn { address: *address, source };
                let stand_in = StandIn::bind(*address, clock.clone()).await.map_err(wrong)?;
                let origin = origin_of(&stand_in).map_err(wrong)?;
                (origin, VERIFY_PATH, Some(stand_in))
            }
        };
        let widget = settings.widget.as_ref().map(|widget| shown(widget, settings, &origin));
        let authorities = settings.authorities.as_deref();
        let service = Service::new(&origin, path, authorities, ANSWER_BYTES)?;
        let ask = move |form| {
            let service = service.clone();
            let asking: Asking =
                Box::pin(async move { service.post(form).await.map_err(Cause::from) });
            asking
        };
        let captcha = Some(Arc::new(Captcha::new(settings.clone(), Box::new(ask))));
        Ok(Self { captcha, widget, stand_in })
    }
}

fn origin_of(stand_in: &StandIn) -> io::Result<Origin> {
    let address = stand_in.address()?;
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Ok(Origin { https: false, host, port: address.port() })
}

/// What the pages show. The stand-in serves its own script.
fn shown(widget: &config::Widget, settings: &config::Captcha, origin: &Origin) -> pages::Captcha {
    let own = || format!("{}{SCRIPT_PATH}", origin.ascii());
    let mut origins = widget.origins.clone();
    if widget.script.is_none() {
        origins.push(origin.ascii());
    }
    pages::Captcha {
        site_key: widget.site_key.clone(),
        script: widget.script.clone().unwrap_or_else(own),
        class: widget.class.clone(),
        field: settings.field.clone(),
        action: settings.action.clone(),
        origins,
        signup: settings.on.contains(&config::Act::Signup),
    }
}
