//! Nodes that nobody has called yet: a place in a list, and nothing else.
//!
//! A server that knows of no introducer looks for unfinished writes when it starts, finds none on an
//! empty disk, and waits. So it need not be there until it is called, or something is done to it:
//! then it is made as it would be by now. When it would have looked at its disk is drawn as it is for
//! others, so that everything else happens as if it had been there all along.

use super::*;

/// Many nodes that are made when they are first needed.
pub(super) struct Dormitory<M> {
    first: u32,
    count: u32,
    /// What their names begin with; a number follows.
    prefix: String,
    make: Box<dyn Fn(u32) -> NodeSetup<M>>,
}

impl<M> Dormitory<M> {
    fn number(&self, node: NodeId) -> Option<u32> {
        node.0.checked_sub(self.first).filter(|number| *number < self.count)
    }

    /// The node with a name.
    pub(super) fn find(&self, name: &str) -> Option<NodeId> {
        let digits = name.strip_prefix(&self.prefix)?;
        let number: u32 = digits.parse().ok().filter(|number| *number < self.count)?;
        // No other way to write it.
        (digits.len() == 1 || !digits.starts_with(['0', '+'])).then_some(NodeId(self.first + number))
    }
}

/// A node of a world.
pub(super) enum Place<M> {
    Here(Box<Node<M>>),
    Asleep(Asleep),
}

/// A node that is made when it is needed.
#[derive(Clone, Copy)]
pub(super) enum Asleep {
    /// It was not started.
    Down,
    /// It was started.
    Up {
        /// When.
        since: Duration,
        /// When it has looked at its disk.
        ready: Duration,
    },
}

impl<M: Machine<Event = Event, Action = Action>> World<M> {
    /// Adds nodes called `prefix` and a number from 0 on, which do not run yet. `make` is asked for each
    /// when somebody calls it or something is done to it; it has to say the same whenever that is.
    ///
    /// They must be such that they do nothing of their own accord: whatever such a node would do when it
    /// starts, but for a look at an empty disk, is a panic when it is made.
    pub fn add_sleeping(
        &mut self,
        prefix: &str,
        count: u32,
        make: impl Fn(u32) -> NodeSetup<M> + 'static,
    ) -> Vec<NodeId> {
        assert!(self.dormitory.is_none(), "there is one kind of such nodes");
        let first = self.nodes.len() as u32;
        let prefix = prefix.to_owned();
        self.dormitory = Some(Dormitory { first, count, prefix, make: Box::new(make) });
        self.nodes.extend((0..count).map(|_| Place::Asleep(Asleep::Down)));
        (first..first + count).map(NodeId).collect()
    }

    /// How many nodes nobody has needed yet.
    pub fn asleep(&self) -> usize {
        self.nodes.iter().filter(|place| matches!(place, Place::Asleep(_))).count()
    }

    /// The name of a node that may not be there yet.
    pub(super) fn name_of(&self, node: NodeId) -> String {
        match &self.nodes[node.index()] {
            Place::Here(node) => node.name.clone(),
            Place::Asleep(_) => {
                let dormitory = self.dormitory.as_ref().expect("who sleeps is in the dormitory");
                format!("{}{}", dormitory.prefix, dormitory.number(node).expect("and has a number"))
            }
        }
    }

    /// A sleeping node is started.
    pub(super) fn start_asleep(&mut self, node: NodeId) {
        let (since, pause) = (self.now(), step_duration(&mut self.chance, Some(&DiskStep::ListRedo)));
        self.nodes[node.index()] = Place::Asleep(Asleep::Up { since, ready: since + pause });
    }

    /// Makes a node that is needed now.
    pub(super) fn rouse(&mut self, id: NodeId) {
        let Place::Asleep(asleep) = self.nodes[id.index()] else { return };
        let dormitory = self.dormitory.as_ref().expect("who sleeps is in the dormitory");
        let setup = (dormitory.make)(dormitory.number(id).expect("and has a number"));
        let mut node = Box::new(Node::new(setup, self.seed));
        if let Asleep::Up { since, ready } = asleep {
            node.start(since);
            let machine = node.machine.as_mut().expect("just started");
            let (action, more) = (machine.poll_action(), machine.poll_action());
            let (Some(Action::Disk { id: action, steps }), None) = (action, more) else {
                panic!("{}: it does more than look at its disk when it starts", node.name);
            };
            assert_eq!(steps, [DiskStep::ListRedo], "{}: it does more when it starts", node.name);
            if self.now() < ready {
                let run = DiskRun { steps: steps.into(), done: 0, outputs: Vec::new() };
                node.disk_runs.insert(action, run);
                self.items.at(ready, Item::Disk { node: id, life: node.life, id: action });
            } else {
                let result = Ok(node.disk.run(DiskStep::ListRedo).into_iter().flatten().collect());
                let now = node.clock(ready);
                let machine = node.machine.as_mut().expect("just started");
                machine.handle(Event::DiskDone { id: action, result }, now);
                assert!(machine.poll_action().is_none(), "{}: it finds something to do", node.name);
                assert!(machine.deadline().is_none(), "{}: it wants to be woken", node.name);
            }
        }
        self.nodes[id.index()] = Place::Here(node);
    }
}
