//! What is killed, when, in the middle of what: drawn from a seed, so that every run can be repeated.

use std::time::Duration;

use reprieve_core::plan::plan;
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{OperationKind, Step};

/// What can be killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service, with all its parts in one process.
    Reprieved,
    /// The api process that is asked; another one goes on.
    Api,
    /// The conductor.
    Conductor,
    /// The agent of the compute host.
    Compute,
    /// libvirtd.
    Libvirtd,
    /// RabbitMQ.
    Broker,
    /// PostgreSQL, with all its processes.
    Database,
    /// The compute host: its power is cut. Everything on it ends at once, and it boots again.
    Host,
}

impl Role {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reprieved => "reprieved",
            Self::Api => "api",
            Self::Conductor => "conductor",
            Self::Compute => "compute",
            Self::Libvirtd => "libvirtd",
            Self::Broker => "rabbitmq",
            Self::Database => "postgresql",
            Self::Host => "host",
        }
    }
}

/// What is killed together, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Who.
    pub roles: &'static [Role],
}

const fn of(roles: &'static [Role]) -> Victim {
    Victim { roles }
}

/// Everything that is killed of one daemon.
pub const OF_ONE: [Victim; 3] =
    [of(&[Role::Reprieved]), of(&[Role::Libvirtd]), of(&[Role::Reprieved, Role::Libvirtd])];

/// Everything that is killed of roles apart, alone.
pub const OF_CLUSTER: [Victim; 7] = [
    of(&[Role::Api]),
    of(&[Role::Conductor]),
    of(&[Role::Compute]),
    of(&[Role::Libvirtd]),
    of(&[Role::Broker]),
    of(&[Role::Database]),
    of(&[Role::Host]),
];

/// And in pairs. A host that loses its power takes two of them with it already.
pub const PAIRS_OF_CLUSTER: [Victim; 15] = [
    of(&[Role::Api, Role::Conductor]),
    of(&[Role::Api, Role::Compute]),
    of(&[Role::Api, Role::Libvirtd]),
    of(&[Role::Api, Role::Broker]),
    of(&[Role::Api, Role::Database]),
    of(&[Role::Conductor, Role::Compute]),
    of(&[Role::Conductor, Role::Libvirtd]),
    of(&[Role::Conductor, Role::Broker]),
    of(&[Role::Conductor, Role::Database]),
    of(&[Role::Compute, Role::Libvirtd]),
    of(&[Role::Compute, Role::Broker]),
    of(&[Role::Compute, Role::Database]),
    of(&[Role::Libvirtd, Role::Broker]),
    of(&[Role::Libvirtd, Role::Database]),
    of(&[Role::Broker, Role::Database]),
];

impl Victim {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> String {
        self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join("+")
    }

    /// Whether guests end with it.
    #[must_use]
    pub fn ends_guests(self) -> bool {
        self.roles.contains(&Role::Host)
    }
}

/// Where a server can be while nothing is being done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Runs.
    Active,
    /// CPUs stopped.
    Paused,
    /// Memory on disk.
    Suspended,
    /// Off.
    Stopped,
    /// Runs from the rescue disk.
    Rescued,
    /// Rescued, but its guest ended with its host. No run begins here.
    RescuedOff,
}

impl Rest {
    /// Where a run can begin.
    const ALL: [Self; 5] =
        [Self::Active, Self::Paused, Self::Suspended, Self::Stopped, Self::Rescued];

    /// `status` in the API.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Suspended => "SUSPENDED",
            Self::Stopped => "SHUTOFF",
            Self::Rescued | Self::RescuedOff => "RESCUE",
        }
    }

    /// `OS-EXT-STS:power_state` in the API.
    #[must_use]
    pub const fn power_state(self) -> i64 {
        match self {
            Self::Active | Self::Rescued => 1,
            Self::Paused => 3,
            Self::Suspended | Self::Stopped | Self::RescuedOff => 4,
        }
    }

    /// The one that the API shows like this.
    #[must_use]
    pub fn shown_as(status: &str, power_state: i64) -> Option<Self> {
        let all = Self::ALL.into_iter().chain([Self::RescuedOff]);
        all.into_iter().find(|rest| (rest.status(), rest.power_state()) == (status, power_state))
    }

    /// What `virsh domstate` says.
    #[must_use]
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Active | Self::Rescued => "running",
            Self::Paused => "paused",
            Self::Suspended | Self::Stopped | Self::RescuedOff => "shut off",
        }
    }

    /// Whether there is a QEMU.
    #[must_use]
    pub const fn has_process(self) -> bool {
        match self {
            Self::Active | Self::Rescued | Self::Paused => true,
            Self::Suspended | Self::Stopped | Self::RescuedOff => false,
        }
    }

    /// Whether this is a rescue.
    #[must_use]
    pub const fn is_rescue(self) -> bool {
        match self {
            Self::Rescued | Self::RescuedOff => true,
            Self::Active | Self::Paused | Self::Suspended | Self::Stopped => false,
        }
    }
}

/// States from which an operation is started here; none for a create.
#[must_use]
pub const fn from(kind: OperationKind) -> &'static [Rest] {
    match kind {
        OperationKind::Create => &[],
        OperationKind::Delete => &Rest::ALL,
        OperationKind::Pause
        | OperationKind::Suspend
        | OperationKind::Stop
        | OperationKind::RebootSoft => &[Rest::Active],
        OperationKind::Rescue => &[Rest::Active, Rest::Stopped],
        OperationKind::RebootHard => &[Rest::Active, Rest::Paused, Rest::Suspended],
        OperationKind::Unpause => &[Rest::Paused],
        OperationKind::Resume => &[Rest::Suspended],
        OperationKind::Unrescue => &[Rest::Rescued],
        OperationKind::Start => &[Rest::Stopped],
    }
}

/// Where an operation leads; nowhere for a delete.
#[must_use]
pub const fn to(kind: OperationKind) -> Option<Rest> {
    match kind {
        OperationKind::Delete => None,
        OperationKind::Create
        | OperationKind::Unpause
        | OperationKind::Resume
        | OperationKind::Unrescue
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => Some(Rest::Active),
        OperationKind::Pause => Some(Rest::Paused),
        OperationKind::Suspend => Some(Rest::Suspended),
        OperationKind::Stop => Some(Rest::Stopped),
        OperationKind::Rescue => Some(Rest::Rescued),
    }
}

/// Whether the guest boots in an operation that succeeds. In all others its memory is kept.
#[must_use]
pub const fn boots(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Create
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => true,
        OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Stop => false,
    }
}

/// When it is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// After this share of the time that the operation takes undisturbed, from the request on.
    At(f64),
    /// As soon as the log says that this step is done.
    After(Step),
}

/// The last moment: the operation may just be over then.
const LATEST: f64 = 1.1;
/// The share of runs in which the victim is killed once more.
const TWICE: f64 = 0.3;
/// How long a victim stays dead at most.
const LONGEST_DEATH: Duration = Duration::from_millis(1500);

/// What runs are drawn from.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Operations.
    pub kinds: Vec<OperationKind>,
    /// Victims.
    pub victims: Vec<Victim>,
}

impl Default for Choice {
    /// Everything that can be done to one daemon.
    fn default() -> Self {
        Self { kinds: OperationKind::ALL.to_vec(), victims: OF_ONE.to_vec() }
    }
}

impl Choice {
    /// Everything that can be done to roles apart. Each of them dies alone as often as with others.
    #[must_use]
    pub fn of_cluster() -> Self {
        let alone = OF_CLUSTER.repeat(2);
        let victims = alone.into_iter().chain(PAIRS_OF_CLUSTER).collect();
        Self { kinds: OperationKind::ALL.to_vec(), victims }
    }
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strike {
    /// Its number.
    pub run: u32,
    /// The operation.
    pub kind: OperationKind,
    /// The state in which the server is before; none for a create.
    pub prior: Option<Rest>,
    /// What is killed.
    pub victim: Victim,
    /// When.
    pub moment: Moment,
    /// How long it stays dead.
    pub dead: Duration,
    /// Of several, whether the last one that was killed comes back first.
    pub last_first: bool,
    /// Set when it is killed once more while it recovers: after this share of the time that the
    /// operation takes undisturbed.
    pub again: Option<f64>,
    /// What a host that loses its power does with its servers when it is back.
    pub policy: RebootPolicy,
}

impl Strike {
    /// Run number `run` of `seed`; depends on nothing else. `None` when there is no choice.
    #[must_use]
    pub fn draw(seed: u64, run: u32, choice: &Choice) -> Option<Self> {
        let mut dice = Dice::new(seed, run);
        let kind = dice.one_of(&choice.kinds)?;
        let prior = dice.one_of(from(kind));
        let victim = dice.one_of(&choice.victims)?;
        let step = dice.one_of(plan(kind)).filter(|_| dice.share() < 0.5);
        let moment = step.map_or_else(|| Moment::At(dice.share() * LATEST), Moment::After);
        let dead = LONGEST_DEATH.mul_f64(dice.share());
        let last_first = dice.share() < 0.5;
        let again = (dice.share() < TWICE).then(|| dice.share());
        let policy = dice.one_of(RebootPolicy::ALL)?;
        Some(Self { run, kind, prior, victim, moment, dead, last_first, again, policy })
    }

    /// In words.
    #[must_use]
    pub fn line(&self) -> String {
        let from = self.prior.map_or_else(String::new, |rest| format!(" from {}", rest.status()));
        let moment = match self.moment {
            Moment::At(share) => format!("at {:.0} %", share * 100.0),
            Moment::After(step) => format!("after {}", step.as_str()),
        };
        let again = if self.again.is_some() { " and again" } else { "" };
        let then = match (self.victim.ends_guests(), self.policy) {
            (false, _) | (true, RebootPolicy::Leave) => "",
            (true, RebootPolicy::Start) => ", guests started after",
            (true, RebootPolicy::Resume) => ", guests started or resumed after",
        };
        format!("{}{from}, {} killed {moment}{again}{then}", self.kind, self.victim.name())
    }
}

/// SplitMix64: small, and the same on every machine.
struct Dice(u64);

/// The increment that its author gives.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    fn new(seed: u64, run: u32) -> Self {
        let mut dice = Self(seed);
        // Neighbouring runs must not be the same sequence, shifted by one.
        let start = dice.next() ^ u64::from(run).wrapping_mul(0xd605_bbb5_8c8a_bc1d);
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        // 53 bits are what a double holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let index = (self.share() * all.len() as f64) as usize;
        all.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_depends_on_seed_and_number_only() {
        let all = Choice::default();
        assert_eq!(Strike::draw(1, 7, &all), Strike::draw(1, 7, &all));
        assert_ne!(Strike::draw(1, 7, &all), Strike::draw(2, 7, &all));
        let only = Choice { kinds: vec![OperationKind::Pause], ..Choice::default() };
        let paused = |run| Strike::draw(1, run, &only).unwrap().kind == OperationKind::Pause;
        assert!((0..20).all(paused));
        assert_eq!(Strike::draw(1, 7, &Choice { kinds: Vec::new(), ..all }), None);
    }

    #[test]
    fn a_thousand_runs_reach_everything() {
        let all = Choice::default();
        let runs: Vec<_> = (0..1000).filter_map(|run| Strike::draw(3, run, &all)).collect();
        for kind in OperationKind::ALL {
            for victim in OF_ONE {
                let hit = |s: &&Strike| s.kind == *kind && s.victim == victim;
                assert!(runs.iter().filter(hit).count() > 5, "{kind}, {}", victim.name());
            }
            for step in plan(*kind) {
                let hit = |s: &Strike| s.kind == *kind && s.moment == Moment::After(*step);
                assert!(runs.iter().any(hit), "{kind} after {step:?}");
            }
        }
        let timed = runs.iter().filter(|s| matches!(s.moment, Moment::At(_))).count();
        assert!((400..600).contains(&timed), "{timed}");
    }

    #[test]
    fn a_cluster_dies_in_every_way() {
        let all = Choice::of_cluster();
        let runs: Vec<_> = (0..3000).filter_map(|run| Strike::draw(3, run, &all)).collect();
        for kind in OperationKind::ALL {
            for victim in OF_CLUSTER.into_iter().chain(PAIRS_OF_CLUSTER) {
                let hit = |s: &Strike| s.kind == *kind && s.victim == victim;
                assert!(runs.iter().any(hit), "{kind}, {}", victim.name());
            }
        }
        let alone = runs.iter().filter(|s| s.victim.roles.len() == 1).count();
        assert!((1200..1800).contains(&alone), "{alone}");
        for policy in RebootPolicy::ALL {
            assert!(runs.iter().any(|s| s.policy == *policy && s.victim.ends_guests()));
        }
    }
}
