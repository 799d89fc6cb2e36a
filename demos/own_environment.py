"""Your own environment in 40 lines: guess a number. python demos/own_environment.py"""

from actfocus_core.envs import ENVS
from actfocus_core.envs.base import Env, stable_seed
from actfocus_core.policy import load_policy
from actfocus_core.rollout import collect


class Guess(Env):
    name = "guess"

    def _start(self):
        self.secret, self.hint = stable_seed("guess", self.seed) % 9 + 1, "?"

    def _apply(self, action):
        won = int(action) == self.secret
        self.hint = f"{action} is {'right' if won else 'too low' if int(action) < self.secret else 'too high'}"
        return float(won), won, won

    def parse(self, text):
        return text.strip() if text.strip() in self.legal_actions() else None

    def legal_actions(self):
        return [str(n) for n in range(1, 10)]

    def world_key(self):
        return (self.secret,)

    def state_key(self):
        return f"{self.secret} {self.hint}"

    def task_text(self):
        return "Guess a number from 1 to 9."

    def state_text(self):
        return self.hint

    def svg(self):
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 1"><rect width="9" height="1" fill="#56b4e9"/></svg>'

    def _state(self):
        return {"secret": self.secret, "hint": self.hint}

    def _restore(self, state):
        self.secret, self.hint = state["secret"], state["hint"]


def main(prompts=2, rollouts=2):
    ENVS[Guess.name] = Guess
    return collect(load_policy("tiny"), "guess", prompts=prompts, rollouts=rollouts)


if __name__ == "__main__":
    for trajectory in main():
        print(trajectory.id, trajectory.ret, trajectory.turn_records[0].response)
