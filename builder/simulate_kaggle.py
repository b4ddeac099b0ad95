"""Layouts of one database."""

from __future__ import annotations

from .simulate import Layout

LAYOUTS: tuple[Layout, ...] = ()
