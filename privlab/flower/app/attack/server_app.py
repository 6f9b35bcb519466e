"""The server: in one round it sends trap weights, and reads every client before it aggregates."""

from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from attack.task import network
from privlab import flower
from privlab.attacks import trap_weights

app = ServerApp()


def plant(model):
    """Small weights: what is added to them is not rounded away."""
    return trap_weights.plant(model, 0.9, sigma=5e-4)


@app.main()
def main(grid, context):
    """FedAvg, but for the round in which it attacks."""
    config = context.run_config
    honest = FedAvg(fraction_evaluate=0.0)
    attacked = [config["attacked"]]
    server = flower.Malicious(honest, network(), plant, rounds=attacked)
    which = {name: config[name] for name in ("nodes", "timeout")}
    flower.rounds(server, grid, config["rounds"], folder=config["results"], **which)
