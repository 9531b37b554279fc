//! The loop: take all that happened, change the state, do what it asks, draw one frame.

use super::inflow::Inflow;
use super::log::{Begin, Log};
use super::session::Session;
use super::signals::{self, Signal};
use super::{input, panic};
use crate::app::{App, Effect, Msg, Offer, Plan};
use crate::engine::{Engine, EngineError, Settings};
use crate::model::Model;
use crate::screen::{self, Skin};
use crate::session::{Line, Opened, Store};
use crate::source::Weights;
use crossterm::event::{Event, MouseButton, MouseEventKind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Frames that only reports cause come at most this often: nobody reads faster, and SSH carries every one.
const REPORT_FRAME: Duration = Duration::from_millis(50);
/// Reports are taken in for so long between two looks at the keys.
const SLICE: Duration = Duration::from_millis(4);
/// Reports that are taken in together: what is linear in the layers is then done once for all of them.
const TOGETHER: usize = 1024;
/// Reports are taken in at most this often, for the same reason; frames are drawn of them less often still.
const INTAKE: Duration = Duration::from_millis(25);
/// How often a hang-up is looked for that no signal told.
const TICK: Duration = Duration::from_millis(250);

/// Everything the interface starts from.
pub struct Setup {
    /// What was loaded.
    pub model: Arc<Model>,
    /// Its weights.
    pub weights: Weights,
    /// The plan it begins with.
    pub plan: Option<Plan>,
    /// Where sessions are kept; `None` when there is no place for them.
    pub store: Option<Store>,
    /// How the session begins.
    pub begin: Begin,
    /// How it is measured.
    pub settings: Settings,
    /// On what quality is measured, or why it is not.
    pub offer: Result<Offer, String>,
    /// How it looks.
    pub skin: Skin,
}

/// How the interface ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The user left.
    Left,
    /// A signal or a hang-up ended it, with this exit status.
    Ended(u8),
}

/// Why the interface could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The terminal cannot be used.
    #[error("the terminal cannot be drawn on: `slimscope measure` and `slimscope frame` need none")]
    Terminal(#[from] std::io::Error),
    /// The engine could not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

enum Happened {
    Msg(Msg),
    Input(Event),
    InputLost,
    Signal(Signal),
    /// Reports wait in the inflow.
    Reports,
}

/// Runs the dashboard until the user leaves.
pub fn run(setup: Setup) -> Result<Outcome, RunError> {
    panic::install();
    let start = Instant::now();
    let (tell, inbox) = mpsc::channel();
    let mut session = Session::open()?;
    // From here on a change of the window's size is heard, before its size is asked for: none is missed between.
    let _ = crossterm::event::poll(Duration::ZERO);
    let size = session.size();
    let mut app = App::new(setup.model, size);
    app.offer(setup.offer);
    setup.plan.into_iter().for_each(|plan| app.open(plan));
    // Of the plan that a log begins with nothing is to be undone.
    let opened = Opened::now(&app.model, &app.plan);
    match &setup.begin {
        Begin::TakeUp(_, replayed) | Begin::Replay(_, replayed) => app.resume(replayed),
        Begin::Told(text) => app.status = Some(text.clone()),
        Begin::Fresh | Begin::Ask => {}
    }
    // The first frame before any thread is started.
    session.draw(size, |buf| screen::draw(&app, setup.skin, buf))?;
    let signal = tell.clone();
    signals::watch(move |s| drop(signal.send(Happened::Signal(s))))?;
    let inflow = Arc::new(Inflow::default());
    let (reports, wake) = (Arc::clone(&inflow), tell.clone());
    let report = move |r| {
        if reports.push(r) {
            // Nobody may be there any more.
            let _ = wake.send(Happened::Reports);
        }
    };
    let engine = Engine::start(Arc::clone(&app.model), setup.weights, setup.settings, report)?;
    let say = tell.clone();
    let log = Log::start(setup.store, Arc::clone(&app.model), opened, &setup.begin, move |msg| {
        drop(say.send(Happened::Msg(msg)));
    })?;
    if matches!(setup.begin, Begin::Ask) {
        log.look_for_others(&app.model, false);
    }
    read_input(tell.clone())?;
    let skin = setup.skin;
    Loop { app: &mut app, session, log, engine, skin, start, outcome: None, tell, inflow, saving: Vec::new() }
        .run(&inbox)
}

/// Reads the terminal on a thread of its own.
fn read_input(tell: mpsc::Sender<Happened>) -> std::io::Result<()> {
    std::thread::Builder::new().name("input".into()).spawn(move || {
        loop {
            let happened = crossterm::event::read().map_or(Happened::InputLost, Happened::Input);
            let lost = matches!(happened, Happened::InputLost);
            if tell.send(happened).is_err() || lost {
                return;
            }
        }
    })?;
    Ok(())
}

struct Loop<'a> {
    app: &'a mut App,
    session: Session,
    log: Log,
    engine: Engine,
    skin: Skin,
    start: Instant,
    outcome: Option<Outcome>,
    tell: mpsc::Sender<Happened>,
    inflow: Arc<Inflow>,
    /// Plans being written.
    saving: Vec<std::thread::JoinHandle<()>>,
}

impl Loop<'_> {
    fn run(mut self, inbox: &mpsc::Receiver<Happened>) -> Result<Outcome, RunError> {
        self.update(Msg::Tick)?;
        let (mut drawn, mut taken) = (Instant::now(), Instant::now());
        // Whether something changed since the last frame, and whether the user waits for it.
        let (mut stale, mut urgent) = (true, true);
        loop {
            if stale && (urgent || drawn.elapsed() >= REPORT_FRAME) {
                let (app, skin) = (&*self.app, self.skin);
                self.session.draw(app.size, |buf| screen::draw(app, skin, buf))?;
                drawn = Instant::now();
                (stale, urgent) = (false, false);
            }
            // Keys first; reports that wait are taken in as soon as no key does.
            let wait = match () {
                () if !self.inflow.is_empty() => INTAKE.saturating_sub(taken.elapsed()),
                () => TICK,
            };
            // What was taken in is drawn in time.
            let wait = if stale { wait.min(REPORT_FRAME.saturating_sub(drawn.elapsed())) } else { wait };
            match inbox.recv_timeout(wait) {
                Ok(first) => {
                    // Every key that waits is taken before the next frame: a held key never queues up frames.
                    for happened in std::iter::once(first).chain(std::iter::from_fn(|| inbox.try_recv().ok())) {
                        if !matches!(happened, Happened::Reports) {
                            (stale, urgent) = (true, true);
                        }
                        self.take(happened)?;
                        if let Some(outcome) = self.outcome {
                            return Ok(outcome);
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if signals::hung_up() {
                        return Ok(Outcome::Ended(129));
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Outcome::Ended(1)),
            }
            // A key that came meanwhile is shown first.
            if !urgent && taken.elapsed() >= INTAKE {
                stale |= self.take_reports()?;
                taken = Instant::now();
                if let Some(outcome) = self.outcome {
                    return Ok(outcome);
                }
            }
        }
    }

    /// Takes in reports that wait, for a few milliseconds; whether there were any.
    fn take_reports(&mut self) -> Result<bool, RunError> {
        let begun = Instant::now();
        let mut any = false;
        while begun.elapsed() < SLICE {
            let reports = self.inflow.take(TOGETHER);
            if reports.is_empty() {
                break;
            }
            any = true;
            self.update(Msg::Reports(reports))?;
        }
        Ok(any)
    }

    fn take(&mut self, happened: Happened) -> Result<(), RunError> {
        match happened {
            Happened::Msg(msg) => self.update(msg),
            // Taken in once no key waits.
            Happened::Reports => Ok(()),
            Happened::Signal(Signal::Leave(status)) => {
                self.outcome = Some(Outcome::Ended(status));
                Ok(())
            }
            Happened::Signal(Signal::Stop) => self.suspend(),
            Happened::InputLost => {
                self.outcome = Some(Outcome::Ended(129));
                Ok(())
            }
            Happened::Input(event) => match self.translate(event) {
                Some(msg) => self.update(msg),
                None => Ok(()),
            },
        }
    }

    fn translate(&self, event: Event) -> Option<Msg> {
        let hit = |x, y| screen::hit(self.app, self.skin.theme, x, y);
        Some(match event {
            Event::Key(event) => Msg::Key(input::key(event)?),
            Event::Paste(text) => Msg::Paste(text),
            Event::Resize(w, h) => Msg::Resize(w, h),
            Event::Mouse(m) => match m.kind {
                MouseEventKind::Down(MouseButton::Left) | MouseEventKind::Drag(MouseButton::Left) => {
                    Msg::Press(hit(m.column, m.row))
                }
                MouseEventKind::Up(MouseButton::Left) => Msg::Release,
                MouseEventKind::ScrollDown => Msg::Scroll(true),
                MouseEventKind::ScrollUp => Msg::Scroll(false),
                _ => return None,
            },
            Event::FocusGained | Event::FocusLost => return None,
        })
    }

    fn update(&mut self, msg: Msg) -> Result<(), RunError> {
        let effects = self.app.update(self.start.elapsed(), msg);
        for effect in effects {
            if let Some(request) = effect.request() {
                self.engine.ask(request);
                continue;
            }
            match effect {
                Effect::Quit => {
                    self.finish_saving();
                    self.log.note(Line::Quit { at: self.start.elapsed().as_millis() as u64 }.into());
                    self.outcome = Some(Outcome::Left);
                }
                Effect::Save(save) => self.save(save),
                Effect::Log(note) => self.log.note(note),
                Effect::Sessions => self.log.look_for_others(&self.app.model, true),
                Effect::TakeUp { path, whole } => self.log.take_up(&path, whole, self.start.elapsed()),
                Effect::Suspend => self.suspend()?,
                Effect::Mouse(on) => self.session.mouse(on)?,
                Effect::Focus { .. }
                | Effect::Refine { .. }
                | Effect::CancelRefine
                | Effect::Preview { .. }
                | Effect::Spread(_)
                | Effect::Quality(_)
                | Effect::CancelQuality
                | Effect::Sweep(_)
                | Effect::Certify(_) => {}
            }
        }
        Ok(())
    }

    /// Writes a plan on a thread of its own: a slow disk holds up no frame.
    fn save(&mut self, save: std::sync::Arc<crate::export::save::Save>) {
        let tell = self.tell.clone();
        let write = move || {
            // Nobody may be there any more.
            let _ = tell.send(Happened::Msg(Msg::Saved(save.run())));
        };
        match std::thread::Builder::new().name("save".into()).spawn(write) {
            Ok(thread) => self.saving.push(thread),
            Err(e) => self.app.status = Some(format!("not written: {e}")),
        }
    }

    /// Waits for plans that are being written, not forever.
    fn finish_saving(&mut self) {
        let begun = Instant::now();
        while self.saving.iter().any(|t| !t.is_finished()) && begun.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn suspend(&mut self) -> Result<(), RunError> {
        // Who is stopped may not go on.
        self.log.flush();
        self.session.suspend(self.app.mouse, signals::stop)?;
        // The window may have changed meanwhile.
        let (w, h) = self.session.size();
        self.update(Msg::Resize(w, h))
    }
}
