"""Reading captures: packets of pcap and pcapng files, and the SIP exchanges in them."""
