"""What a listing and an export's own small files tell about a version, without a download."""
