"""smolagents' own GradioUI as its documentation starts it, with the scripted model: python -m bench.peer_app URL.

Stock but for two things in its favour: it forgets each run, so that one run's prompts do not grow with those before,
and no tunnel to a public address is opened.
"""

from __future__ import annotations

import os
import sys

from smolagents import CodeAgent, GradioUI, InferenceClientModel


def main() -> None:
    agent = CodeAgent(tools=[], model=InferenceClientModel(model_id=sys.argv[1]), stream_outputs=True, max_steps=60)
    GradioUI(agent, reset_agent_memory=True).launch(share=False, server_port=int(os.environ["PORT"]))


if __name__ == "__main__":
    main()
