"""`make bench`: what a run costs the server, the network and the browser, beside smolagents' own GradioUI.

Both apps run as their users start them, each as a process of its own, against one scripted model server that notes
when it sent each token. All clocks are time.monotonic() of one machine.
"""
