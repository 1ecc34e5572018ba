//! Runs everything of a seed on one thread: which task that can go on goes on next is drawn, and time passes only when
//! none can.
//!
//! Every task has an owner. A process that is killed takes its tasks with it, in the middle of whatever they did: their
//! futures are dropped between two polls.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::random::Random;

/// Who owns a task: a process, by its number, or nobody that can die.
pub(super) type Owner = u64;
/// Owns what is not part of a gateway.
pub(super) const WORLD: Owner = 0;
/// Steps after which a seed that has not come to its end is taken for one that never will.
const MOST_STEPS: u64 = 2_000_000;

type Future = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

/// What all parts of a simulation share: the tasks, the time, the dice, the trace.
#[derive(Clone)]
pub(super) struct Sim(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ready: Arc<Mutex<Ready>>,
}

struct State {
    random: Random,
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    numbers: u64,
    spawned: Vec<(Owner, Future)>,
    killed: Vec<Owner>,
    trace: Trace,
    wrong: Vec<String>,
}

/// What happened, as one number; and in words for whoever looks at one seed.
struct Trace {
    hash: u64,
    told: bool,
}

/// The tasks that can go on, in no order.
#[derive(Default)]
struct Ready {
    tasks: Vec<usize>,
    is_in: Vec<bool>,
}

impl Ready {
    fn add(&mut self, task: usize) {
        if self.is_in.len() <= task {
            self.is_in.resize(task + 1, false);
        }
        if let Some(is_in) = self.is_in.get_mut(task)
            && !std::mem::replace(is_in, true)
        {
            self.tasks.push(task);
        }
    }

    fn take(&mut self, random: &mut Random) -> Option<usize> {
        if self.tasks.is_empty() {
            return None;
        }
        let drawn = random.below(self.tasks.len());
        let task = self.tasks.swap_remove(drawn);
        if let Some(is_in) = self.is_in.get_mut(task) {
            *is_in = false;
        }
        Some(task)
    }
}

struct Task {
    owner: Owner,
    future: Future,
    waker: Waker,
}

struct WakeUp {
    task: usize,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        locked(&self.ready).add(self.task);
    }
}

pub(super) fn locked<T: ?Sized>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    /// A world at time zero. `told`: the trace is printed as it grows.
    pub(super) fn new(seed: u64, told: bool) -> Self {
        let state = State {
            random: Random::new(seed),
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            numbers: 0,
            spawned: Vec::new(),
            killed: Vec::new(),
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, told },
            wrong: Vec::new(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), ready: Arc::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0.state)
    }

    /// Begins a task.
    pub(super) fn spawn(&self, owner: Owner, future: impl std::future::Future<Output = ()> + Send + 'static) {
        self.state().spawned.push((owner, Box::pin(future)));
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.state();
        state.numbers += 1;
        state.numbers
    }

    /// All tasks of this owner end before anything else happens.
    pub(super) fn kill(&self, owner: Owner) {
        self.state().killed.push(owner);
    }

    /// How much time has passed.
    pub(super) fn now(&self) -> Duration {
        self.state().now
    }

    /// A number below this one.
    pub(super) fn below(&self, end: usize) -> usize {
        self.state().random.below(end)
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&self, first: T, others: &[T]) -> T {
        self.below(others.len() + 1)
            .checked_sub(1)
            .and_then(|drawn| others.get(drawn))
            .copied()
            .unwrap_or(first)
    }

    /// True so many times in a thousand.
    pub(super) fn chance(&self, of_thousand: usize) -> bool {
        self.below(1000) < of_thousand
    }

    /// Random bytes.
    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        self.state().random.bytes()
    }

    /// Notes what happens.
    pub(super) fn trace(&self, what: fmt::Arguments<'_>) {
        let mut state = self.state();
        let now = state.now;
        let line = format!("{:>10.3} {what}", now.as_secs_f64() * 1000.0);
        if state.trace.told {
            println!("{line}");
        }
        state.trace.mix(line.as_bytes());
    }

    /// Notes that a promise was broken.
    pub(super) fn wrong(&self, what: String) {
        self.trace(format_args!("WRONG: {what}"));
        self.state().wrong.push(what);
    }

    /// Every promise that was broken.
    pub(super) fn wrongs(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// What happened so far, as a number.
    pub(super) fn hash(&self) -> u64 {
        self.state().trace.hash
    }

    /// Lets some time pass.
    pub(super) async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        let mut set = false;
        poll_fn(|context| {
            let mut state = self.state();
            if state.now >= until && set {
                return Poll::Ready(());
            }
            // A task has one waker all its life.
            if !std::mem::replace(&mut set, true) {
                state.numbers += 1;
                let number = state.numbers;
                state.timers.insert((until, number), context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets a drawn time below this one pass.
    pub(super) async fn sleep_below(&self, most: Duration) {
        let micros = self.below(usize::try_from(most.as_micros()).unwrap_or(usize::MAX).max(1));
        self.sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
    }

    /// What comes of it, unless it takes longer than this.
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        work: impl std::future::Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut late = std::pin::pin!(self.sleep(time));
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => late.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Runs until this future has ended; everything else ends with it.
    pub(super) fn run(&self, story: impl std::future::Future<Output = ()> + Send + 'static) {
        let mut tasks: Vec<Option<Task>> = Vec::new();
        self.spawn(WORLD, story);
        for _ in 0..MOST_STEPS {
            self.take_up(&mut tasks);
            let Some(number) = self.next() else {
                self.wrong("nothing can go on any more".to_owned());
                break;
            };
            let Some(task) = tasks.get_mut(number).and_then(Option::as_mut) else { continue };
            self.state().trace.mix(&number.to_be_bytes());
            let ended = task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready();
            if ended {
                tasks.get_mut(number).into_iter().for_each(|task| *task = None);
                if number == 0 {
                    return self.end(tasks);
                }
            }
        }
        if self.wrongs().is_empty() {
            self.wrong("it does not come to its end".to_owned());
        }
        self.end(tasks);
    }

    /// Ends the tasks of who was killed, and begins new ones.
    fn take_up(&self, tasks: &mut Vec<Option<Task>>) {
        loop {
            let (killed, spawned) = {
                let mut state = self.state();
                (std::mem::take(&mut state.killed), std::mem::take(&mut state.spawned))
            };
            if killed.is_empty() && spawned.is_empty() {
                return;
            }
            for (owner, future) in spawned {
                let task = tasks.len();
                let waker = Waker::from(Arc::new(WakeUp { task, ready: Arc::clone(&self.0.ready) }));
                tasks.push(Some(Task { owner, future, waker }));
                locked(&self.0.ready).add(task);
            }
            for task in tasks.iter_mut() {
                if task.as_ref().is_some_and(|task| killed.contains(&task.owner)) {
                    *task = None;
                }
            }
        }
    }

    /// A task that can go on. When none can, it is later.
    fn next(&self) -> Option<usize> {
        loop {
            let mut state = self.state();
            if let Some(task) = locked(&self.0.ready).take(&mut state.random) {
                return Some(task);
            }
            let ((at, _), waker) = state.timers.pop_first()?;
            state.now = state.now.max(at);
            drop(state);
            waker.wake();
        }
    }

    /// What is left is dropped, and what that begins, too.
    fn end(&self, tasks: Vec<Option<Task>>) {
        drop(tasks);
        let mut state = self.state();
        let left = (std::mem::take(&mut state.spawned), std::mem::take(&mut state.timers));
        drop(state);
        drop(left);
    }
}

impl Trace {
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
