"""Series from, and results to, archives (PACS) that speak DICOMweb and are on the operator's list."""

from .archive import Archive, Budget
from .archives import ArchiveList, ArchivePlace, Archives
from .origins import Origins
from .source import Source

__all__ = ["Archive", "ArchiveList", "ArchivePlace", "Archives", "Budget", "Origins", "Source"]
