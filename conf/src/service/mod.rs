//! What `passerelle-conf` does: the authority's side and the client's, and the server between them.
//!
//! | part | what it is |
//! |---|---|
//! | [`authority`] | `init`, `check`, `publish`, `serve`, `anchor`, `key …` |
//! | [`client`] | `fetch`, `verify` |
//! | [`Serving`] | publishes all the time and serves what is published |
//! | [`witness_key`] | the key of the authority as a witness of logs; [`Serving`] is that witness |
//! | [`serve_folder`] | only serves it |

pub mod authority;
pub mod client;
mod http;
mod serving;
mod watch;
mod witness;

pub use http::serve as serve_folder;
pub use serving::{ServeError, Serving};
pub use witness::witness_key;
