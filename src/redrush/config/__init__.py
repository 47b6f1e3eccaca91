"""Campaign and deployment files: TOML in, validated values out, or an error with file, line and key."""

from redrush.config.campaign_file import (
    CAMPAIGN_PACKETS_MAX,
    ROUNDS_MAX,
    CampaignFile,
    GateSpec,
    WrittenFile,
    given_campaign,
    load_campaign_file,
    parse_campaign,
    read_given,
)
from redrush.config.deployment_file import (
    DeploymentFile,
    SetSpec,
    is_deployment,
    parse_deployment,
)
from redrush.config.hosted import load_deployment_file
from redrush.config.limits_table import LimitsSpec
from redrush.config.notifier_table import NotifierSpec
from redrush.config.payments_file import PaymentsFile, ProviderSpec, load_payments_file
from redrush.config.rounds import LASTS_US_MAX, NOW, PACKETS_MAX, RoundSpec, check_year
from redrush.config.secret import Secret
from redrush.config.toml_file import FILE_BYTES_MAX

__all__ = [
    "CAMPAIGN_PACKETS_MAX",
    "FILE_BYTES_MAX",
    "LASTS_US_MAX",
    "NOW",
    "PACKETS_MAX",
    "ROUNDS_MAX",
    "CampaignFile",
    "DeploymentFile",
    "GateSpec",
    "LimitsSpec",
    "NotifierSpec",
    "PaymentsFile",
    "ProviderSpec",
    "RoundSpec",
    "Secret",
    "SetSpec",
    "WrittenFile",
    "check_year",
    "given_campaign",
    "is_deployment",
    "load_campaign_file",
    "load_deployment_file",
    "load_payments_file",
    "parse_campaign",
    "parse_deployment",
    "read_given",
]
