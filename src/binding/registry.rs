//! Numbers for what is kept here and named by JS.
//!
//! By number, since an object that JS hands over may be anything: the runtime tells whose it is only as long as the
//! addon is loaded once. And a number is cheap to look up, for what is called with every message.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Values by their numbers. The number of a value that was removed is given to another one.
pub(super) struct Registry<T> {
    values: Vec<Option<T>>,
    /// The numbers of the places in `values` that are empty.
    free: Vec<u32>,
}

impl<T> Registry<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Registry { values: Vec::new(), free: Vec::new() }
    }

    /// Keeps a value, and returns its number.
    pub fn add(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop()
            && let Some(place) = self.values.get_mut(number as usize)
        {
            *place = Some(value);
            return number;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
    }

    /// The value with a number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)?.as_ref()
    }

    /// The value with a number, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.values.get_mut(number as usize)?.as_mut()
    }

    /// Takes out the value with a number.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.values.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(value)
    }
}

/// Takes a value out of a registry of this thread, in a finalizer. There a panic would end the process.
pub(super) fn forget<T>(registry: &'static LocalKey<RefCell<Registry<T>>>, number: u32) {
    // At the end of a worker the thread's own data may be gone already. And nobody has borrowed them while garbage is
    // collected; were it otherwise, the place would stay taken.
    let value = registry.try_with(|registry| registry.try_borrow_mut().ok()?.remove(number));
    drop(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static REGISTRY: RefCell<Registry<&'static str>> = const { RefCell::new(Registry::new()) };
    }

    #[test]
    fn each_value_has_a_number_of_its_own() {
        let mut registry = Registry::new();
        assert_eq!(["a", "b", "c"].map(|value| registry.add(value)), [0, 1, 2]);
        assert_eq!(
            [0, 1, 2, 3, u32::MAX].map(|number| registry.get(number).copied()),
            [Some("a"), Some("b"), Some("c"), None, None]
        );
    }

    #[test]
    fn a_value_can_be_changed_in_its_place() {
        let mut registry = Registry::new();
        let number = registry.add(1);
        *registry.get_mut(number).unwrap() += 1;
        assert_eq!(registry.get(number), Some(&2));
        assert_eq!(registry.get_mut(number + 1), None);
    }

    #[test]
    fn the_number_of_what_was_removed_is_given_again_and_no_other() {
        let mut registry = Registry::new();
        let numbers = ["a", "b", "c"].map(|value| registry.add(value));
        assert_eq!(registry.remove(numbers[1]), Some("b"));
        assert_eq!(registry.get(numbers[1]), None);
        assert_eq!(registry.remove(numbers[1]), None, "once only");
        assert_eq!(registry.remove(7), None);
        assert_eq!((registry.add("d"), registry.add("e")), (1, 3));
        assert_eq!([0, 1, 2, 3].map(|number| *registry.get(number).unwrap()), ["a", "d", "c", "e"]);
    }

    #[test]
    fn a_finalizer_takes_out_what_it_can() {
        let number = REGISTRY.with_borrow_mut(|registry| registry.add("a"));
        REGISTRY.with_borrow(|registry| {
            forget(&REGISTRY, number);
            assert_eq!(registry.get(number), Some(&"a"), "it is borrowed");
        });
        forget(&REGISTRY, number);
        assert_eq!(REGISTRY.with_borrow(|registry| registry.get(number).copied()), None);
        forget(&REGISTRY, number);
    }

    #[test]
    fn as_many_places_are_kept_as_there_were_values_at_a_time() {
        let mut registry = Registry::new();
        for round in 0..100 {
            let numbers = [round, round].map(|value| registry.add(value));
            for number in numbers {
                registry.remove(number);
            }
        }
        assert_eq!(registry.values.len(), 2);
    }
}
