//! What a client received, whoever the client was.

/// A response, read whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The status; the last one, if several came.
    pub(crate) status: u16,
    /// `1.1` or `2`.
    pub(crate) version: String,
    /// Fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// Fields after a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The values of a field; `name` in lower case.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
    }

    /// The value of a field that must be there once.
    pub(crate) fn one(&self, name: &str) -> &str {
        match self.field(name).as_slice() {
            [one] => one,
            other => panic!("{name} must be there once, not {other:?}: {self:#?}"),
        }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The gateway's own code for a refusal; empty when this is no refusal of the gateway.
    pub(crate) fn code(&self) -> String {
        let body = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and code at once.
    pub(crate) fn verdict(&self) -> (u16, String) {
        (self.status, self.code())
    }

    /// The `Set-Cookie` field of a cookie, if there is just one.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<&str> {
        let start = format!("{name}=");
        let mut all =
            self.field("set-cookie").into_iter().filter(|field| field.starts_with(&start));
        let first = all.next()?;
        assert_eq!(all.next(), None, "a cookie is set twice");
        Some(first)
    }
}
