//! A claims profile: which claims a kind of token has, and under which names.

/// Which of our claims a token has, and what each is called outside. Others are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimsProfile {
    /// Our name and the outside name, in the order in which they stand in the token.
    kept: Vec<(&'static str, String)>,
}

impl ClaimsProfile {
    /// A profile of these claims, in this order.
    pub const fn new(kept: Vec<(&'static str, String)>) -> Self {
        Self { kept }
    }

    /// Our name and the outside name of each claim that is kept, in order.
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.kept.iter().map(|(claim, name)| (*claim, name.as_str()))
    }

    /// Whether tokens have our claim `claim`, under whatever name.
    pub fn keeps(&self, claim: &str) -> bool {
        self.kept.iter().any(|(kept, _)| *kept == claim)
    }

    /// A text that is the same for equal profiles only: names hold neither `=` nor `,`.
    pub fn label(&self) -> String {
        let pairs: Vec<String> =
            self.kept.iter().map(|(claim, name)| format!("{claim}={name}")).collect();
        pairs.join(",")
    }
}
