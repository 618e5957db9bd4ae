//! How many connections may be open: altogether, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::address::Block;
use super::message::{Caps, ConnectionEvent};

/// Places of one listener.
#[derive(Debug, Default)]
pub(crate) struct Places {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    by_block: HashMap<Block, usize>,
}

impl Places {
    pub(crate) fn taken(&self) -> usize {
        self.with(|state| state.taken)
    }

    /// A place for a connection from `address` within these caps, given back when dropped.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        caps: &Caps,
    ) -> Result<Place, ConnectionEvent> {
        let block = Block::of(address);
        self.with(|state| {
            if state.taken >= caps.connections {
                return Err(ConnectionEvent::TooMany);
            }
            let here = state.by_block.entry(block).or_insert(0);
            if *here >= caps.per_address {
                return Err(ConnectionEvent::TooManyFromAddress);
            }
            *here += 1;
            state.taken += 1;
            Ok(())
        })?;
        Ok(Place { places: Arc::clone(self), block })
    }

    fn give_back(&self, block: Block) {
        self.with(|state| {
            state.taken -= 1;
            if let Some(here) = state.by_block.get_mut(&block) {
                *here -= 1;
                if *here == 0 {
                    state.by_block.remove(&block);
                }
            }
        });
    }

    /// Counters stay right when a thread panics while holding the lock, so poisoning is ignored.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A taken place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    block: Block,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(connections: usize, per_address: usize) -> Caps {
        Caps { connections, per_address, ..Caps::default() }
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_altogether_and_per_address_and_given_back() {
        let (places, caps) = (Arc::new(Places::default()), caps(3, 2));
        let first = places.take(at("10.0.0.1"), &caps).unwrap();
        let _second = places.take(at("::ffff:10.0.0.1"), &caps).unwrap();
        assert_eq!(
            places.take(at("10.0.0.1"), &caps).err(),
            Some(ConnectionEvent::TooManyFromAddress)
        );
        let _third = places.take(at("10.0.0.2"), &caps).unwrap();
        assert_eq!(places.take(at("10.0.0.3"), &caps).err(), Some(ConnectionEvent::TooMany));
        drop(first);
        assert!(places.take(at("10.0.0.1"), &caps).is_ok());
        assert_eq!(places.taken(), 2);
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        let (places, caps) = (Arc::new(Places::default()), caps(9, 1));
        let _first = places.take(at("2001:db8:0:1::1"), &caps).unwrap();
        assert!(places.take(at("2001:db8:0:1:ffff::9"), &caps).is_err());
        assert!(places.take(at("2001:db8:0:2::1"), &caps).is_ok());
    }

    #[test]
    fn nothing_is_kept_about_addresses_that_are_gone() {
        let (places, caps) = (Arc::new(Places::default()), caps(9, 9));
        for last in 0..100_u8 {
            drop(places.take(IpAddr::from([10, 0, 0, last]), &caps));
        }
        assert!(places.state.lock().unwrap().by_block.is_empty());
    }
}
