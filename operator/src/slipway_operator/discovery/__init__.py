"""Finds versions in object storage and proves them complete, through slipway_sync."""
