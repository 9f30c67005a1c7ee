//! The way from where a walk began to where it is.

use std::sync::Arc;

/// Directories, each in the one before. Walks share their common beginning.
#[derive(Debug)]
pub(crate) struct Chain<T> {
    end: Option<Arc<Link<T>>>,
    len: usize,
}

#[derive(Debug)]
struct Link<T> {
    here: T,
    above: Chain<T>,
}

impl<T: PartialEq> Chain<T> {
    /// The way to where the walk begins.
    pub(crate) fn new() -> Chain<T> {
        Chain { end: None, len: 0 }
    }

    /// The way one further; `None` if that leads to where it has been already.
    pub(crate) fn to(&self, next: T) -> Option<Chain<T>> {
        let mut chain = self;
        while let Some(link) = &chain.end {
            if link.here == next {
                return None;
            }
            chain = &link.above;
        }
        Some(Chain { end: Some(Arc::new(Link { here: next, above: self.clone() })), len: self.len + 1 })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Chain<T> {
        Chain { end: self.end.clone(), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_seen_and_branches_are_not() {
        let one = Chain::new().to(1).unwrap();
        let two = one.to(2).unwrap();
        assert!(two.to(1).is_none() && two.to(2).is_none());
        let three = one.to(3).unwrap();
        assert_eq!(three.to(2).unwrap().len(), 3);
    }
}
