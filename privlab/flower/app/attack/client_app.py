"""An honest client: it trains what it is sent on its own data, and sends the new weights back."""

from attack.task import BATCH, client, network
from privlab import flower

app = flower.client_app(network, client, batch=BATCH)
