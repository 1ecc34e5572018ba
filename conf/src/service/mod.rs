//! What `passerelle-conf` does: the authority's side and the client's, and the server between them.
//!
//! | part | what it is |
//! |---|---|
//! | [`authority`] | `init`, `check`, `publish`, `serve`, `anchor`, `key …` |
//! | [`client`] | `fetch`, `verify` |
//! | [`Serving`] | publishes all the time and serves what is published |
//! | [`serve_folder`] | only serves it |

pub mod authority;
pub mod client;
mod http;
mod serving;
mod watch;

pub use http::serve as serve_folder;
pub use serving::{ServeError, Serving};
