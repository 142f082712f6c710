//! Where exceptions go that a `try` delegates.
//!
//! `delegate` names a construct further out that is to handle what the body
//! throws, past everything in between. The blocks that lead to the handlers of
//! an enclosing construct enclose the delegating `try` as well, so it can branch
//! to them itself: it becomes a `try_table` with the clauses of its target, then
//! those of the construct that handles what the target does not catch, and so on
//! outwards until one catches everything.
//!
//! If that never happens, the exception has to leave the function (or, past
//! [`MOST_CLAUSES`], reach the next construct) without meeting the constructs in
//! between. Then everything else is caught, with a branch out to a *rethrow
//! point*: a block just inside the construct, or the function, with `throw_ref`
//! behind it.

use crate::scan::{Kind, Scan};

/// With this many clauses a delegating `try` leaves the rest to a rethrow
/// point. It keeps the output linear in the input, whatever the nesting.
const MOST_CLAUSES: usize = 8;

/// What becomes of each construct of a function. Kept between functions for its
/// allocations.
#[derive(Default)]
pub(crate) struct Routes {
    shapes: Vec<Shape>,
    /// By construct: which one handles what is thrown in its body, once
    /// delegation and constructs without clauses are seen through.
    handlers: Vec<Option<usize>>,
    rethrow_points: Vec<bool>,
    pub(crate) function_rethrow_point: bool,
}

/// What a construct becomes.
#[derive(Clone)]
pub(crate) enum Shape {
    /// Its exceptions go where they would go anyway.
    Block,
    /// A `try_table` with blocks around it for its own handlers.
    Handlers,
    /// A `try_table` that branches to handlers further out.
    Delegation(Route),
}

#[derive(Clone)]
pub(crate) struct Route {
    /// The clauses to try in turn, each by its construct and its number in it.
    pub(crate) clauses: Vec<(usize, usize)>,
    pub(crate) rest: Rest,
}

/// What a delegation does with an exception that none of its clauses catches.
#[derive(Clone, Copy)]
pub(crate) enum Rest {
    /// One of them catches everything.
    Nothing,
    /// To the rethrow point of a construct; of the function if `None`.
    Rethrow(Option<usize>),
}

impl Routes {
    pub(crate) fn find(&mut self, scan: &Scan) {
        self.shapes.clear();
        self.handlers.clear();
        self.rethrow_points.clear();
        self.rethrow_points.resize(scan.tries.len(), false);
        self.function_rethrow_point = false;
        // Constructs are listed as they open: the outer ones come first.
        for (index, construct) in scan.tries.iter().enumerate() {
            let handler = match construct.kind {
                Kind::Delegates(target) => self.handler_in(target),
                Kind::Catches | Kind::Standard if construct.clauses.is_empty() => {
                    self.handler_in(construct.around)
                }
                Kind::Catches | Kind::Standard => Some(index),
            };
            self.handlers.push(handler);
            let shape = self.decide(scan, index, handler);
            self.shapes.push(shape);
        }
    }

    pub(crate) fn shape(&self, construct: usize) -> &Shape {
        &self.shapes[construct]
    }

    pub(crate) fn has_rethrow_point(&self, construct: usize) -> bool {
        self.rethrow_points[construct]
    }

    fn handler_in(&self, construct: Option<usize>) -> Option<usize> {
        construct.and_then(|index| self.handlers[index])
    }

    fn decide(&mut self, scan: &Scan, index: usize, handler: Option<usize>) -> Shape {
        if handler == self.handler_in(scan.tries[index].around) {
            Shape::Block
        } else if handler == Some(index) {
            Shape::Handlers
        } else {
            Shape::Delegation(self.route(scan, handler))
        }
    }

    fn route(&mut self, scan: &Scan, mut next: Option<usize>) -> Route {
        let mut clauses = Vec::new();
        while let Some(construct) = next {
            let own = &scan.tries[construct].clauses;
            if clauses.len() + own.len() > MOST_CLAUSES {
                self.rethrow_points[construct] = true;
                return Route { clauses, rest: Rest::Rethrow(next) };
            }
            for (number, clause) in own.iter().enumerate() {
                clauses.push((construct, number));
                if clause.tag.is_none() {
                    return Route { clauses, rest: Rest::Nothing };
                }
            }
            next = self.handler_in(scan.tries[construct].around);
        }
        self.function_rethrow_point = true;
        Route { clauses, rest: Rest::Rethrow(None) }
    }
}
