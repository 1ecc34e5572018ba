//! Whether the gateway can do its work, and if not, why.
//!
//! Not here: the checks themselves; each part gives its own.

use cert_authority::hardening::InForce;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::AdminReply;

#[derive(Serialize)]
struct Said<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dangerous: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    hardening: Option<&'a InForce>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Value>,
}

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks that decide on `/health`. They are asked for each request, so they look at what is known and wait for
/// nothing.
#[derive(Default)]
pub struct Health {
    checks: Vec<(&'static str, Check)>,
    warnings: Vec<(&'static str, Check)>,
    dangerous: Vec<&'static str>,
    hardening: Option<InForce>,
}

impl Health {
    /// No checks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. Its reason is shown to anybody: no paths, no names of keys.
    #[must_use]
    pub fn check(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name, Box::new(check)));
        self
    }

    /// Adds a check that makes nobody unwell yet: what it says is shown.
    #[must_use]
    pub fn warn(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.warnings.push((name, Box::new(check)));
        self
    }

    /// Names departures from what is safe. They are shown, and make nobody unwell.
    #[must_use]
    pub fn dangerous(mut self, names: Vec<&'static str>) -> Self {
        self.dangerous = names;
        self
    }

    /// Shows what this process has given up.
    #[must_use]
    pub fn hardening(mut self, in_force: Option<InForce>) -> Self {
        self.hardening = in_force;
        self
    }

    /// The checks that fail, with their reasons.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        failing(&self.checks)
    }

    /// What is to be looked at before it fails.
    #[must_use]
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        failing(&self.warnings)
    }

    pub(super) fn reply(&self) -> AdminReply {
        let said = |found: Vec<(&'static str, String)>| -> Vec<Value> {
            found.into_iter().map(|(check, reason)| json!({ "check": check, "reason": reason })).collect()
        };
        let (reasons, warnings) = (said(self.problems()), said(self.warnings()));
        let (status, word) = match reasons.as_slice() {
            [] => (StatusCode::OK, "ok"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
        };
        let (dangerous, hardening) = (&self.dangerous, self.hardening.as_ref());
        AdminReply::json(status, &json!(Said { status: word, dangerous, hardening, warnings, reasons }))
    }
}

fn failing(checks: &[(&'static str, Check)]) -> Vec<(&'static str, String)> {
    checks.iter().filter_map(|(name, check)| Some((*name, check().err()?))).collect()
}
