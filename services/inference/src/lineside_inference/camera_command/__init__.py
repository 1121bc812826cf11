"""`lineside camera`: which GigE Vision and USB3 Vision cameras answer, and what there is to know and to set of one.

`commands` lists, shows and snaps; `feature_command` shows and sets features, `save_command` keeps them in a file;
`trial_command` tries one as the service uses it, `watch_command` watches one's stream; `grabbing` takes frames;
`force_ip_command` gives one an address; `common` is what they share.
"""

import typer

from lineside_inference.camera_command.commands import info, list_cameras, snap
from lineside_inference.camera_command.feature_command import features
from lineside_inference.camera_command.force_ip_command import force_ip
from lineside_inference.camera_command.save_command import save
from lineside_inference.camera_command.trial_command import try_camera
from lineside_inference.camera_command.watch_command import watch

__all__ = ["app"]

app = typer.Typer(help="Find GigE Vision and USB3 Vision cameras, and look at one.", no_args_is_help=True)
app.command("list")(list_cameras)
app.command()(info)
app.command()(snap)
app.command()(features)
app.command("force-ip")(force_ip)
app.command()(save)
app.command("test")(try_camera)
app.command()(watch)
