//! Shared parameters (`shared-params.xml`): what an instance tells all others about itself.
//!
//! One [`SharedParams`] for all versions: [`read`](SharedParams::read) switches on the version of the text,
//! [`write`](SharedParams::write) leaves out what a version does not know.
//!
//! Specification: PR-GCONF, Annex B, and the schemas `globalconf/v2` to `v6` of X-Road 7.8.
//!
//! Not here: look-ups ([`crate::snapshot`]) and signatures ([`crate::directory`]).

mod model;
mod read;
mod write;

pub use model::{
    AcmeServer, ApprovedCa, ApprovedTsa, CaInfo, CostType, CsrFormat, GlobalGroup, GlobalSettings,
    Maintenance, Member, MemberClass, OcspResponder, Server, SharedParams, Source, Subsystem,
};
