//! The model that the checker explores: every action of every process and of the world.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::advance::{Advancing, Choice, OUTCOMES, Outcome};
use crate::event::{EVENTS, Event, Reached};
use crate::ingest::{ANSWERS, Answer, Appending};
use crate::record::{POSITIONS, Position, Set};
use crate::state::{EPOCHS, State, Step};
use crate::{Scope, property, world};

/// Something that may happen. Numbers of processes and shards are those of the canonical state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the function of the same name")]
pub enum Action {
    Arrive(usize),
    Register(usize),
    Recreate(usize),
    Tick,
    Expire(usize, Position),
    Lose(usize, Position),
    AppendAtOnce(usize, Position),
    MergeAtOnce(usize),
    OrphanLands,
    CommitLands,
    DeleteCheckpoint(usize),
    DeleteSnapshot(usize),
    Deliver(usize, usize, Set),
    Read(usize),
    Build(usize, usize),
    Check(usize),
    Send(usize),
    Answer(usize, Answer),
    CrashIngest(usize),
    Load(usize),
    Emit(usize),
    EmitEarly(usize),
    Mark(usize, bool),
    Draft(usize, Choice),
    Commit(usize, Outcome),
    Verify(usize),
    WriteSnapshot(usize),
    Housekeep(usize),
    CrashAdvance(usize),
}

/// The protocol, in one scope.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The scope.
    pub scope: Scope,
    /// What happened so far.
    pub reached: Arc<Reached>,
}

impl Protocol {
    /// The protocol in this scope.
    pub fn new(scope: Scope) -> Protocol {
        Protocol { scope, reached: Arc::default() }
    }

    fn world(&self, state: &State, actions: &mut Vec<Action>) {
        let scope = &self.scope;
        for log in scope.logs() {
            let shard = &state.logs[log];
            if scope.arrivals && shard.arrived < scope.length(log, 0) {
                actions.push(Action::Arrive(log));
            }
            if !shard.registered {
                actions.push(Action::Register(log));
            }
            if scope.recreated && shard.generation == 0 {
                actions.push(Action::Recreate(log));
            }
            for after in 0..POSITIONS as Position {
                if shard.get(after).is_some() {
                    actions.push(Action::Expire(log, after));
                    if scope.lossy {
                        actions.push(Action::Lose(log, after));
                    }
                }
            }
            if scope.ingests == 0 {
                let length = scope.length(log, 0);
                actions.extend((1..=length).map(|to| Action::AppendAtOnce(log, to)));
            }
            if scope.advances == 0 {
                actions.push(Action::MergeAtOnce(log));
            }
        }
        if scope.time {
            actions.push(Action::Tick);
        }
        if state.orphan.is_some() {
            actions.push(Action::OrphanLands);
        }
        if state.chain.orphan.is_some() {
            actions.push(Action::CommitLands);
        }
        for epoch in 0..EPOCHS {
            if state.chain.checkpoints[epoch].is_some_and(|checkpoint| checkpoint.expires) {
                actions.push(Action::DeleteCheckpoint(epoch));
            }
            if state.chain.snapshots[epoch].is_some_and(|snapshot| snapshot.expires) {
                actions.push(Action::DeleteSnapshot(epoch));
            }
        }
    }

    fn ingest(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let ingest = &state.ingests[index];
        match ingest.step {
            Step::Idle => {
                for log in self.scope.logs() {
                    let batches = world::batches(&self.scope, state, log);
                    actions.extend(batches.into_iter().map(|it| Action::Deliver(index, log, it)));
                }
            }
            Step::Reading | Step::HalfRead(..) => actions.push(Action::Read(index)),
            Step::Building => {
                let lengths = Appending::new(&self.scope, &self.reached, state, index).lengths();
                actions.extend(lengths.map(|length| Action::Build(index, length)));
            }
            Step::Checking(_) => actions.push(Action::Check(index)),
            Step::Sending(_) => actions.push(Action::Send(index)),
            Step::Waiting(_) => {
                actions.extend(ANSWERS.map(|answer| Action::Answer(index, answer)));
            }
        }
        if ingest.step != Step::Idle || ingest.tails.iter().any(Option::is_some) {
            actions.push(Action::CrashIngest(index));
        }
    }

    fn advance(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let advance = &state.advances[index];
        if advance.draft.is_some() {
            actions.extend(OUTCOMES.map(|outcome| Action::Commit(index, outcome)));
            actions.push(Action::EmitEarly(index));
            actions.push(Action::Housekeep(index));
            actions.push(Action::CrashAdvance(index));
            return;
        }
        let Some(warm) = &advance.warm else {
            actions.push(Action::Load(index));
            return;
        };
        if warm.epochs != state.chain.epochs() {
            actions.push(Action::Load(index));
        }
        actions.extend([
            Action::Emit(index),
            Action::Mark(index, true),
            Action::Mark(index, false),
        ]);
        actions.extend([Action::Verify(index), Action::WriteSnapshot(index)]);
        actions.extend([Action::Housekeep(index), Action::CrashAdvance(index)]);
        let advancing = Advancing::new(&self.scope, &self.reached, state, index);
        actions.extend(advancing.choices().into_iter().map(|it| Action::Draft(index, it)));
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.scope).canonical(&self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.world(state, actions);
        (0..self.scope.ingests).for_each(|index| self.ingest(state, index, actions));
        (0..self.scope.advances).for_each(|index| self.advance(state, index, actions));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (scope, reached) = (&self.scope, &*self.reached);
        let ingest = |index| Appending::new(scope, reached, state, index);
        let advance = |index| Advancing::new(scope, reached, state, index);
        let next = match action {
            Action::Arrive(log) => world::arrive(scope, state, log),
            Action::Register(log) => world::register(state, log),
            Action::Recreate(log) => world::recreate(scope, state, log),
            Action::Tick => world::tick(scope, state),
            Action::Expire(log, after) => world::expire(scope, reached, state, log, after),
            Action::Lose(log, after) => world::lose(scope, state, log, after),
            Action::AppendAtOnce(log, to) => world::append(scope, state, log, to),
            Action::MergeAtOnce(log) => world::merge(scope, reached, state, log),
            Action::OrphanLands => world::orphan_lands(scope, reached, state),
            Action::CommitLands => world::commit_lands(scope, reached, state),
            Action::DeleteCheckpoint(epoch) => world::delete_checkpoint(reached, state, epoch),
            Action::DeleteSnapshot(epoch) => world::delete_snapshot(state, epoch),
            Action::Deliver(index, log, batch) => ingest(index).deliver(log, batch),
            Action::Read(index) => ingest(index).read(),
            Action::Build(index, length) => ingest(index).build(length),
            Action::Check(index) => ingest(index).check(),
            Action::Send(index) => ingest(index).send(),
            Action::Answer(index, answer) => ingest(index).answer(answer),
            Action::CrashIngest(index) => ingest(index).crash(),
            Action::Load(index) => advance(index).load(),
            Action::Emit(index) => advance(index).emit(),
            Action::EmitEarly(index) => advance(index).emit_early(),
            Action::Mark(index, is_written) => advance(index).mark(is_written),
            Action::Draft(index, choice) => advance(index).draft(choice),
            Action::Commit(index, outcome) => advance(index).commit(outcome),
            Action::Verify(index) => advance(index).verify(),
            Action::WriteSnapshot(index) => advance(index).write_snapshot(),
            Action::Housekeep(index) => advance(index).housekeep(),
            Action::CrashAdvance(index) => advance(index).crash(),
        };
        Some(next?.canonical(scope))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = property::ALL.into_iter().map(|(name, holds)| Property::always(name, holds));
        let sometimes = self.scope.reaches.iter().map(|event| {
            let (name, is_reached) = SOMETIMES[*event as usize];
            Property::sometimes(name, is_reached)
        });
        always.chain(sometimes).collect()
    }
}

type IsReached = fn(&Protocol, &State) -> bool;

/// For each event the property that it happens.
const SOMETIMES: [(&str, IsReached); EVENTS] = {
    macro_rules! sometimes {
        ($($event:ident $name:literal,)*) => {
            [$(($name, |model, _| model.reached.has(Event::$event)),)*]
        };
    }
    sometimes! {
        Created "a segment is created",
        OwnWriteFound "an append is told that its own write exists",
        RaceLost "an append loses a race",
        Skipped "records that the log has are skipped",
        Orphan "a put is carried out after its sender gave up",
        Expired "a segment expires",
        Stalled "a writer finds before its put that it stalled",
        NotBelieved "a writer finds after its put that it stalled",
        NearExpiry "an append refuses because unmerged segments are old",
        TailFromCheckpoint "only the checkpoint tells the tail",
        OverlapFound "a segment that overlaps the merged position is found",
        UnseenFound "a skipped record that no segment holds is found",
        RewindFound "a source that was created anew is found",
        GapFound "a missing segment is found",
        Committed "a checkpoint is created",
        CommitLost "a process loses the race for an epoch",
        OwnCheckpointFound "a process finds its own checkpoint",
        Replayed "a cold process replays the chain",
        ReplayedSnapshot "a cold process begins with a snapshot",
        EmittedTwice "an epoch is emitted twice, with one value",
        Late "a record is late",
        Idle "a log is idle",
        Snapshot "an epoch begins with a snapshot",
        CheckpointDeleted "a checkpoint expires",
        DeletedKeyTaken "the key of an expired checkpoint is taken again",
        GaveWay "a process finds that its checkpoint is not the newest",
    }
};
