"""Answer an advisor's requests for groups, profiles and aliases; refuse them for a login that is none.

The configuration is as TWS writes it before anybody has changed it: a group of all accounts, no profiles, the account
names as aliases. What a client replaces is kept until the exchange stops.

Known limits: orders by group or profile are refused, as nothing here divides a fill among accounts.

Source: ib-facts B.5 (16, 103), B.7 (18, 19); the official samples' XML.
"""

from __future__ import annotations

from xml.etree import ElementTree

from services.simulator.core.floor import Floor
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.versions import FA_PROFILE_DESUPPORT

GROUPS, PROFILES, ALIASES = 1, 2, 3
NO_ADVISOR = "Error validating request.-'cB' : cause - FA data operations ignored for non FA customers."
PROFILES_GONE = "FA Profile is not supported anymore, use FA Group instead."
_ROOTS = {GROUPS: "ListOfGroups", PROFILES: "ListOfAllocationProfiles", ALIASES: "ListOfAccountAliases"}
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
MAX_XML = 1_000_000


class AdvisorDesk:
    """The advisor side of the login."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        accounts = floor.config.accounts
        listed = "".join(f"<String>{name}</String>" for name in accounts)
        aliases = "".join(
            f"<AccountAlias><account>{name}</account><alias>{name}</alias></AccountAlias>" for name in accounts
        )
        group = (
            f'<Group><name>All</name><ListOfAccts varName="list">{listed}</ListOfAccts>'
            "<defaultMethod>NetLiq</defaultMethod></Group>"
        )
        self._xml = {
            GROUPS: f"{_HEAD}<ListOfGroups>{group}</ListOfGroups>",
            PROFILES: f"{_HEAD}<ListOfAllocationProfiles></ListOfAllocationProfiles>",
            ALIASES: f"{_HEAD}<ListOfAccountAliases>{aliases}</ListOfAccountAliases>",
        }

    def request(self, session: Session, request: rq.RequestFA) -> None:
        """Send a part of the configuration."""
        if not self._is_refused(session, -1, request.fa_type):
            self._floor.send(session.session, rs.ReceiveFA(request.fa_type, self._xml[request.fa_type]))

    def replace(self, session: Session, request: rq.ReplaceFA) -> None:
        """Take a part of the configuration from the client."""
        if self._is_refused(session, request.req_id, request.fa_type):
            return
        root = _ROOTS[request.fa_type]
        complaint = _complaint(request.xml, root)
        if complaint:
            text = f"Error validating request.-'cC' : cause - Invalid FA data: {complaint}"
            self._floor.error(session.session, request.req_id, 321, text)
            return
        self._xml[request.fa_type] = request.xml
        self._floor.log("advisor_replaced", session=session.session, part=root)
        self._floor.send(session.session, rs.ReplaceFAEnd(request.req_id, "success"))

    def _is_refused(self, session: Session, req_id: int, fa_type: int) -> bool:
        if not self._floor.config.is_advisor:
            self._floor.error(session.session, req_id, 321, NO_ADVISOR)
        elif fa_type == PROFILES and session.version >= FA_PROFILE_DESUPPORT:
            self._floor.error(session.session, req_id, 585, PROFILES_GONE)
        elif fa_type not in _ROOTS:
            text = f"Error validating request.-'cB' : cause - Invalid FA data type {fa_type}"
            self._floor.error(session.session, req_id, 321, text)
        else:
            return False
        return True


def _complaint(xml: str, root: str) -> str:
    """Return what is wrong with a configuration, empty if nothing is."""
    if len(xml) > MAX_XML or "<!" in xml:  # no document types: their entities grow without end
        return "too long, or a document type"
    try:
        found = ElementTree.fromstring(xml.encode()).tag  # noqa: S314 - without entities, see above
    except (ElementTree.ParseError, ValueError) as e:
        return str(e)
    return "" if found == root else f"{root} is needed, found {found}"
