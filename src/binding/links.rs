//! The links of this JS thread by their numbers: what is called for every message takes the number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{Error, Status};

use super::registry::{Registry, forget};
use crate::core::effects::MemberId;
use crate::core::routing::Routing;
use crate::driver::shared::Shared;

thread_local! {
    static LINKS: RefCell<Registry<LocalLink>> = const { RefCell::new(Registry::new()) };
}

/// A link as its JS thread has it.
pub(super) struct LocalLink {
    pub shared: Arc<Shared>,
    /// The channels of its members.
    pub routings: HashMap<MemberId, Rc<Routing>>,
}

/// Adds a link without members, and returns its number.
pub(super) fn add(shared: Arc<Shared>) -> u32 {
    LINKS.with_borrow_mut(|links| links.add(LocalLink { shared, routings: HashMap::new() }))
}

/// Removes a link. For a finalizer.
pub(super) fn remove(id: u32) {
    forget(&LINKS, id);
}

/// Looks at a link. Nothing that `call` does may enter the runtime: a collection of garbage would run the finalizer of
/// a link.
pub(super) fn with_link<R>(id: u32, call: impl FnOnce(&LocalLink) -> R) -> napi::Result<R> {
    LINKS.with_borrow(|links| match links.get(id) {
        Some(link) => Ok(call(link)),
        None => Err(Error::new(Status::InvalidArg, "the link is gone")),
    })
}

/// Changes which members a link has. Nothing that `change` does may enter the runtime either.
pub(super) fn with_routings<R>(
    id: u32,
    change: impl FnOnce(&mut HashMap<MemberId, Rc<Routing>>) -> R,
) -> Option<R> {
    LINKS.with_borrow_mut(|links| links.get_mut(id).map(|link| change(&mut link.routings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_number_until_it_is_removed() {
        let shared = [(); 2].map(|()| Arc::new(Shared::default()));
        let ids = shared.each_ref().map(|shared| add(Arc::clone(shared)));
        for (id, shared) in ids.iter().zip(&shared) {
            assert!(with_link(*id, |link| Arc::ptr_eq(&link.shared, shared)).unwrap());
        }
        remove(ids[0]);
        assert!(with_link(ids[0], |_| ()).is_err());
        assert_eq!(with_routings(ids[0], |_| ()), None);
        assert_eq!(with_routings(ids[1], |routings| routings.len()), Some(0));
        assert_eq!(Arc::strong_count(&shared[0]), 1, "nothing is kept of it");
    }

    #[test]
    fn each_thread_has_its_own_links() {
        let id = add(Arc::new(Shared::default()));
        let there = std::thread::spawn(move || with_link(id, |_| ()).is_ok());
        assert!(!there.join().unwrap());
    }
}
