//! Webhook calls: `announce` decides what is due, `seal` builds the messages, and `deliver` makes
//! the calls.

mod announce;
mod deliver;
mod seal;

pub(crate) use self::deliver::{CallHook, Deliverer, Waker, is_local};
pub use self::seal::seal;
