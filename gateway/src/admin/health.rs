//! Whether the gateway can do its work, and if not, why.
//!
//! Not here: the checks themselves; each part gives its own.

use http::StatusCode;
use serde_json::json;

use super::AdminReply;

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks that decide on `/health`. They are asked for each request, so they look at what is known and wait for
/// nothing.
#[derive(Default)]
pub struct Health(Vec<(&'static str, Check)>);

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
        self.0.push((name, Box::new(check)));
        self
    }

    /// The checks that fail, with their reasons.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        self.0.iter().filter_map(|(name, check)| Some((*name, check().err()?))).collect()
    }

    pub(super) fn reply(&self) -> AdminReply {
        let problems = self.problems();
        if problems.is_empty() {
            return AdminReply::json(StatusCode::OK, &json!({ "status": "ok" }));
        }
        let reasons: Vec<_> =
            problems.into_iter().map(|(check, reason)| json!({ "check": check, "reason": reason })).collect();
        AdminReply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "failing", "reasons": reasons }))
    }
}
