//! Every state that can be reached, breadth first: what is found first has the fewest steps.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::model::Model;
use super::state::{Action, State, Violation};

/// How a search ended.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    /// The first violation, and the steps that lead to it.
    pub violation: Option<(Violation, Vec<Action>)>,
}

/// Multiplies and rotates: states are small numbers, and nobody attacks this table.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }
    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn write_i8(&mut self, byte: i8) {
        self.write_u8(byte.cast_unsigned());
    }
    fn write_isize(&mut self, discriminant: isize) {
        self.write_u8(discriminant as u8);
    }
}

/// Searches all of it. More than `most` states is a failure of the test: the search would not be exhaustive.
pub fn explore(model: &Model, most: usize) -> Found {
    let mut numbers: HashMap<State, u32, BuildHasherDefault<Mix>> = HashMap::default();
    let mut states = vec![model.initial()];
    let mut from: Vec<(u32, Action)> = vec![(0, Action::Tick)];
    numbers.insert(states[0], 0);
    let mut at = 0;
    while at < states.len() {
        let state = states[at];
        if !model.heals(state) {
            return Found {
                states: states.len(),
                violation: Some((Violation::NobodyTrades, path(&from, at))),
            };
        }
        for action in model.actions(&state) {
            match model.step(state, action) {
                Err(violation) => {
                    let mut steps = path(&from, at);
                    steps.push(action);
                    return Found { states: states.len(), violation: Some((violation, steps)) };
                }
                Ok(next) => {
                    let number = u32::try_from(states.len()).expect("far fewer states");
                    if *numbers.entry(next).or_insert(number) == number {
                        assert!(states.len() < most, "more than {most} states: the model is too large");
                        states.push(next);
                        from.push((at as u32, action));
                    }
                }
            }
        }
        at += 1;
    }
    Found { states: states.len(), violation: None }
}

fn path(from: &[(u32, Action)], mut at: usize) -> Vec<Action> {
    let mut steps = Vec::new();
    while at != 0 {
        let (before, action) = from[at];
        steps.push(action);
        at = before as usize;
    }
    steps.reverse();
    steps
}
