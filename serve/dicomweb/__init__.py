"""Series from, and results to, archives (PACS) that speak DICOMweb and are on the operator's list."""

from .archive import Archive, Budget
from .origins import Origins

__all__ = ["Archive", "Budget", "Origins"]
