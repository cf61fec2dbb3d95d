"""Who is calling, and where the call goes: trunks by source address, routes by trunk and number."""
