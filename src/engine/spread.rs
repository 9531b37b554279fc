//! The thread that spreads budgets: curves of every allocator, and the plan of one. It works on the newest question of
//! each kind only.

use super::mailbox::Mailbox;
use super::{Message, Report};
use crate::model::Model;
use crate::plan::Plan;
use crate::plan::budget::{Ask, BudgetError, allocator, curve};
use crate::probe::book::FactBook;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// A budget, and what is known when it is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Number of the question; answers to older ones are stale.
    pub number: u64,
    /// What is known.
    pub facts: FactBook,
    /// What is planned; only pinned layers matter.
    pub plan: Plan,
    /// The budget.
    pub ask: Ask,
    /// The allocator whose plan is wanted; `None` asks for the curves of all.
    pub allocator: Option<&'static str>,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// The newest question of each kind.
#[derive(Default)]
pub(super) struct Waiting {
    plan: Option<Arc<Question>>,
    curves: Option<Arc<Question>>,
}

impl Waiting {
    pub fn put(&mut self, question: Arc<Question>) {
        let slot = if question.allocator.is_some() { &mut self.plan } else { &mut self.curves };
        *slot = Some(question);
    }
    fn next(&mut self) -> Option<Arc<Question>> {
        self.plan.take().or_else(|| self.curves.take())
    }
}

/// Answers questions until the mailbox is closed.
pub(super) fn run(mailbox: &Mailbox<Waiting>, model: &Model, messages: &mpsc::Sender<Message>) {
    while let Some(question) = mailbox.take(Waiting::next) {
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&question, model)));
        let report = answer.unwrap_or_else(|_| Report::Spread {
            number: question.number,
            took: std::time::Duration::ZERO,
            result: Err(BudgetError::Failed),
        });
        if messages.send(Message::Spread(question.number, report)).is_err() {
            return;
        }
    }
}

fn answer(question: &Question, model: &Model) -> Report {
    let Question { number, facts, plan, ask, .. } = question;
    let start = Instant::now();
    let Some(name) = question.allocator else {
        let curves = Arc::new(curve::curves(model, facts, plan, *ask));
        return Report::Curves { number: *number, took: start.elapsed(), curves };
    };
    let result = match allocator(name) {
        Some(allocator) => allocator.plan(model, facts, plan, *ask),
        None => Err(BudgetError::Unsuited(format!("no allocator is called {name}"))),
    };
    Report::Spread { number: *number, took: start.elapsed(), result }
}
