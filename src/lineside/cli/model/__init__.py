"""`lineside model`: a model becomes a signed package, and a component of Greengrass that brings it to the machines."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Models as signed packages: pack, sign, verify, publish them. Exit status 0: done, 1: refused, and one "
    "sentence says why.",
    no_args_is_help=True,
)

Package = Annotated[Path, typer.Argument(metavar="PACKAGE", help="A package: NAME-VERSION.tar.gz.")]
Bundle = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The signature; PACKAGE.sig, beside the package, where absent.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
PasswordFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Its first line is the key's password.")]


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model's folder, as Triton's repository has it.")],
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write to, or a file that ends in .tar.gz.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Pack a model's folder into one archive, the same bytes each time: card, configuration, versions, manifest."""
    from lineside.cli.model import commands  # noqa: PLC0415 - the help must not wait for it

    commands.pack_folder(folder, out, as_json=as_json)


@app.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key's file; the public one's is FILE.pub.")],
    *,
    password_file: PasswordFile = None,
) -> None:
    """Make a key pair that signs packages. Keep FILE to yourself; FILE.pub goes to the machines."""
    from lineside.cli.model import commands  # noqa: PLC0415 - same

    commands.new_key(file, password_file)


@app.command()
def sign(
    package: Package,
    *,
    key_file: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key, PEM.")],
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key's certificate, PEM: sign by it, not by the bare key.")
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A certificate between that and the root which the machines trust."),
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Sign a package: PACKAGE.sig is written, which `python -m model_signing verify` takes too. No network is used."""
    from lineside.cli.model import commands  # noqa: PLC0415 - same

    commands.sign_package(package, key_file, certificate, tuple(chain or ()), password_file)


@app.command()
def verify(
    package: Package,
    *,
    roots: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the trusted public keys and authorities' certificates.")
    ],
    bundle: Bundle = None,
    as_json: Json = False,
) -> None:
    """Say who signed a package, and whether it is as they signed it, as a machine with these roots would."""
    from lineside.cli.model import commands  # noqa: PLC0415 - same

    commands.verify_package(package, bundle, roots, as_json=as_json)


@app.command()
def inspect(package: Package, *, as_json: Json = False) -> None:
    """Show what a package says of itself: model, hardware, files. Nothing of it is verified."""
    from lineside.cli.model import commands  # noqa: PLC0415 - same

    commands.inspect_package(package, as_json=as_json)


@app.command()
def component(
    package: Package,
    *,
    registry: Annotated[
        str,
        typer.Option(
            help="Where the images are, for instance 123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside."
        ),
    ],
    bucket: Annotated[str, typer.Option(help="The S3 bucket of the artifacts.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; one for each component.")],
    component_name: Annotated[
        str | None, typer.Option(help="ComponentName; com.lineside.Model.<Name> where absent.")
    ] = None,
    component_description: Annotated[str | None, typer.Option(help="ComponentDescription.")] = None,
    component_version: Annotated[str, typer.Option(help="ComponentVersion, semantic versioning.")] = "1.0.0",
    platform_os: Annotated[str, typer.Option(help="PlatformOS: linux.")] = "linux",
    platform_architecture: Annotated[
        str | None, typer.Option(help="PlatformArchitecture: amd64 or arm64; both where absent.")
    ] = None,
    nucleus: Annotated[str | None, typer.Option(help="classic or lite; both where absent.")] = None,
    digests: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines image@sha256:...; the image is then named by digest.")
    ] = None,
    lineside_version: Annotated[
        str | None, typer.Option(help="The image's tag and the script's version; this installation's where absent.")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take a package without a signature.")] = False,
) -> None:
    """Write a package's Greengrass component: recipe and artifacts, by the fields of Edge Manager's packaging job."""
    from lineside.cli.model import components  # noqa: PLC0415 - the help must not wait for it

    architecture = {"aarch64": "arm64"}.get(platform_architecture or "", platform_architecture)
    components.write_component(
        package,
        out,
        registry=registry,
        bucket=bucket,
        version=component_version,
        name=component_name,
        description=component_description,
        operating_system=platform_os,
        platform=[each for each in (architecture, nucleus) if each],
        digests=digests,
        lineside_version=lineside_version,
        unsigned=unsigned,
    )


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `lineside model component` wrote.")],
    *,
    region: Annotated[
        str | None, typer.Option(help="The region; AWS_REGION or that of the profile where absent.")
    ] = None,
) -> None:
    """Put a component's artifacts into the bucket, then make its version in Greengrass. Again, it changes nothing."""
    from lineside.cli.model import components  # noqa: PLC0415 - same

    components.publish_component(folder, region)
