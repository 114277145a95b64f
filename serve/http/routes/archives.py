"""Archives that requests may name."""

from fastapi import APIRouter

from ..dependencies import SettingsDep
from ..schemas import ArchiveNames, ArchiveSummary

router = APIRouter(prefix="/v1/archives", tags=["archives"])


@router.get("")
async def list_archives(settings: SettingsDep) -> ArchiveNames:
    """Names under which requests can have series fetched, and results stored. Addresses are not told."""
    return ArchiveNames(archives=tuple(ArchiveSummary(name=name) for name in settings.dicomweb))
